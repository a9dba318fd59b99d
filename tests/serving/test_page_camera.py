"""The camera on the page of a server: pieces labelled as they come, in a real browser with a camera that is none."""

import browsing


def test_the_camera_is_labelled_as_it_goes_and_stopped(page):
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#said", has_text="The camera, the last 2 seconds. The model sees the middle square").wait_for()
    seen = page.locator("#clock").inner_text()
    page.locator("#segments tbody tr").first.wait_for()
    page.locator("#clock").filter(has_not_text=seen).wait_for()
    page.get_by_role("button", name="Stop the camera").click()
    assert page.locator("#status").inner_text() == "The camera is off."
    assert not page.locator("video").is_visible()
    assert page.locator("#headline").inner_text().endswith("%"), "what was seen stays"
    page.get_by_role("slider", name="Moment").press("Home")
    assert page.locator("#now li").count() == 3
    sent = browsing.posted(page)
    page.wait_for_timeout(2500)
    assert not sent


def test_a_piece_that_the_server_refuses_is_left_out_and_told(page):
    busy = {"status": 503, "json": {"error": "all 16 places are taken"}}
    page.route("**/predict*", lambda route: route.fulfill(**busy), times=1)
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#rule", has_text="1 was left out, the last because of this: all 16 places are taken.").wait_for()
    page.locator("#segments tbody tr").first.wait_for()
    assert page.locator("#segments tbody button").first.inner_text() != "0.00 s", "no label is made up for it"
    page.get_by_role("slider", name="Moment").press("Home")
    assert page.locator("#now li").count() == 0


def test_a_camera_that_is_refused_is_told(address, launch):
    with browsing.visit(launch(), address) as page:
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("alert").filter(has_text="The camera was refused: allow it").wait_for()
        assert not page.get_by_role("button", name="Stop the camera").is_visible()
