"""The page of a server to the eye and to those who see little: its colours, its size, and where the model looks."""

import itertools
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import browsing

ROOT = Path(__file__).parents[2]
WEB = ROOT / "src" / "mvit" / "serving" / "web"
PHONE = {"viewport": {"width": 360, "height": 740}}
LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


def test_where_the_model_looks_lies_over_the_video(page, address, ten_seconds):
    sent = browsing.posted(page)
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    assert not [path for path in sent if "explain" in path], "it is computed when it is wanted"
    page.get_by_label("Show where the model looks").check()
    label, _ = page.locator("#headline").inner_text().split(maxsplit=1)
    facts = page.request.post(f"{address}explain?target={label}", data=ten_seconds.read_bytes()).json()
    page.get_by_text(f"for {label}: the brighter, the more").wait_for()
    overlay = page.locator("#overlay")
    assert not overlay.is_visible(), "the playhead is elsewhere"
    page.get_by_role("button", name="Go there").click()
    overlay.wait_for()
    page.get_by_label("Opacity").fill("0.5")
    strongest = page.evaluate(
        """() => {
            const { data } = document.querySelector("canvas").getContext("2d").getImageData(0, 0, 99, 99);
            return Math.max(...data.filter((_, n) => n % 4 === 3));
        }"""
    )
    assert strongest == pytest.approx(0.5 * 255 * np.max(facts["maps"][0]), abs=1)
    left, _, right, _ = facts["crop"]
    stage, covered = page.locator("#stage").bounding_box(), overlay.bounding_box()
    assert covered["width"] == pytest.approx(stage["width"] * (right - left), abs=1)
    page.get_by_role("slider", name="Moment").press("Home")
    assert not overlay.is_visible()
    page.get_by_label("Show where the model looks").uncheck()
    assert not page.get_by_label("Opacity").is_visible()


def test_where_the_model_looks_is_for_the_class_of_the_headline(page, address, ten_seconds):
    """Whichever of them the clip in the middle is taken for."""
    labels, waiting = ["left", "right & up"], []
    page.route("**/predict?top*", lambda route: waiting.append(route))  # by the model's own views
    quick = {"scores": {labels[0]: 0.6, labels[1]: 0.4}, "protocol": "1x1"}
    page.route("**/predict?views*", lambda route: route.fulfill(json=quick))
    known = page.request.post(f"{address}explain", data=ten_seconds.read_bytes()).json()

    def explained(route) -> None:
        (target,) = parse_qs(urlsplit(route.request.url).query)["target"]
        route.fulfill(json=known | {"label": target})

    page.route("**/explain*", explained)
    browsing.choose(page, ten_seconds)
    page.locator("#headline", has_text=labels[0]).wait_for()
    page.get_by_label("Show where the model looks").check()
    page.locator("#explained", has_text=f"for {labels[0]}: the brighter").wait_for()
    waiting[0].fulfill(json={"scores": {labels[1]: 0.6, labels[0]: 0.4}, "protocol": "3x1"})
    page.locator("#headline", has_text=labels[1]).wait_for()
    page.locator("#explained", has_text=f"for {labels[1]}: the brighter").wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_it_can_be_read_by_all(look, browser, address, ten_seconds, library):
    """By axe-core's rules, as far as a program can tell, and without going sideways."""
    axe = library("axe_playwright_python.sync_playwright", "peers").Axe()
    with browsing.visit(browser, address, **LOOKS[look]) as page:

        def barriers() -> list[str]:
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            return [
                f"{one['id']}: {node['html']}" for one in axe.run(page).response["violations"] for node in one["nodes"]
            ]

        assert barriers() == []
        browsing.choose(page, ten_seconds)
        browsing.finished(page)
        page.get_by_label("Show where the model looks").check()
        page.get_by_text("the brighter, the more").wait_for()
        assert barriers() == []
        page.route("**/predict*", lambda route: route.fulfill(status=503, json={"error": "the queue is full"}))
        browsing.choose(page, ten_seconds)
        page.get_by_role("button", name="Try again").wait_for()
        assert barriers() == []


def test_keys_are_told_of_where_there_are_some(browser, address, ten_seconds):
    finger = {"is_mobile": True, "has_touch": True}
    for touched, context in ((False, {}), (True, PHONE | finger)):
        with browsing.visit(browser, address, **context) as page:
            assert page.get_by_text("Drop a video here").is_visible() != touched
            browsing.choose(page, ten_seconds)
            browsing.finished(page)
            assert page.get_by_text("use the arrow keys").is_visible() != touched


# ---- its files ------------------------------------------------------------------------------------------------------


def test_it_is_of_one_family_with_the_report():
    report = (ROOT / "src/mvit/analysis/report.css").read_text(encoding="utf-8")
    style = (WEB / "page.css").read_text(encoding="utf-8")
    colours = [
        re.findall(r"--(?:page|ink|muted|rule|faint|blue|ochre|green)\S*: [^;]+;", text.partition("@media print")[0])
        for text in (report, style)  # on screens; the report is printed on white
    ]
    assert len(colours[0]) == 18
    assert colours[0] == colours[1]


# How the three kinds of colour-blind see linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.
SEEN = {
    "by most": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanope": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("look", [0, 1], ids=["light", "dark"])
def test_colours_of_labels_are_apart_also_to_the_colour_blind(look, seen):
    style = (WEB / "page.css").read_text(encoding="utf-8")
    ground = linear(re.findall(r"--faint: (#\w{6})", style)[look])
    labels = [linear(colour) for colour in re.findall(r"--label-\d: (#\w{6})", style)][6 * look : 6 * look + 6]
    assert len(labels) == 6
    for one, other in itertools.combinations(labels, 2):
        assert np.linalg.norm(lab(SEEN[seen] @ one) - lab(SEEN[seen] @ other)) > 20
    for colour in labels:
        dark, light = sorted(TO_XYZ[1] @ one + 0.05 for one in (colour, ground))
        assert light / dark > 3, "WCAG 1.4.11"
