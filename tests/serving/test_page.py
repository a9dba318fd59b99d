"""The page of a server in a real browser: what it shows of good and bad files, by mouse and by keyboard."""

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import browsing
from mvit.data.video import Video
from mvit.deploy.predictor import Predictor, load
from mvit.deploy.segments import Hysteresis, Segment, segments
from mvit.deploy.windows import Sweep, Windowing

HOSTILE = "<img src=http://example.org/x onerror=alert(1)>"  # a class may be called anything


@pytest.fixture(scope="module")
def model(run) -> Predictor:
    return load(run, device="cpu")


@pytest.fixture(scope="module")
def found(model, ten_seconds) -> list[Segment]:
    """What `mvit segment` says."""
    with Video(ten_seconds) as opened:
        return list(segments(Sweep(model, opened, Windowing()), model.classes, Hysteresis(), multi_label=False))


def percent(score: float) -> str:
    return f"{100 * score:.1f} %"


def test_a_video_has_the_models_label_and_segments(page, model, ten_seconds, found, record_testsuite_property):
    begun = time.perf_counter()
    browsing.choose(page, ten_seconds)
    page.get_by_role("heading", level=2, name=re.compile("%")).wait_for()
    record_testsuite_property("seconds_to_first_label", round(time.perf_counter() - begun, 2))
    browsing.finished(page)
    label, score = next(iter(model.predict(ten_seconds).items()))
    assert page.locator("#headline").inner_text() == f"{label} {percent(score)}"
    square = "The model sees the middle square of the picture."
    assert page.locator("#said").inner_text() == f"The whole video: {model.protocol}. {square}"
    assert len(found) > 1
    rows = [
        f"{segment.start:.2f} s {segment.end:.2f} s {segment.label} {percent(segment.score)}".split()
        for segment in found
    ]
    assert [row.split() for row in page.locator("#segments tbody tr").all_inner_texts()] == rows
    assert page.locator(".segment").all_inner_texts() == [segment.label for segment in found]
    assert (
        page.locator("#status").inner_text() == f"Done: {len(found)} segments in a video of {browsing.SECONDS:.2f} s."
    )


def test_of_three_crops_it_is_not_said_that_the_middle_is_seen(page, ten_seconds):
    facts = page.evaluate("fetch('model').then((answer) => answer.json())")
    page.route("**/model", lambda route: route.fulfill(json=facts | {"views": [1, 3]}))
    page.reload()
    page.locator("#choose:enabled").wait_for()
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    assert page.locator("#said").inner_text() == f"The whole video: {facts['protocol']}."


def test_the_moment_under_the_playhead_has_its_scores(page, ten_seconds, found):
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    timeline = page.get_by_role("slider", name="Moment")
    assert browsing.moment(page) == 0
    first, second = found[:2]
    assert page.locator("#now li").first.inner_text().startswith(first.label)
    middle = (second.start + second.end) / 2
    timeline.click(position={"x": middle / browsing.SECONDS * timeline.bounding_box()["width"], "y": 20})
    assert browsing.moment(page) == pytest.approx(middle, abs=0.1)
    assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(middle, abs=0.1)
    assert page.locator("#now li").first.inner_text().startswith(second.label)
    assert page.locator("#now li").count() == 3
    assert f": {second.label}, " in timeline.get_attribute("aria-valuetext")
    page.get_by_role("button", name=f"{found[1].start:.2f} s").click()
    assert browsing.moment(page) == found[1].start
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Pause").click()
    assert browsing.moment(page) > found[1].start, "the playhead goes with the video"


@pytest.mark.parametrize(("wanted", "plays"), [("no-preference", True), ("reduce", False)])
def test_a_video_plays_at_once_where_motion_is_welcome(wanted, plays, browser, address, ten_seconds):
    with browsing.visit(browser, address, reduced_motion=wanted) as page:
        browsing.choose(page, ten_seconds)
        browsing.finished(page)
        assert bool(page.evaluate("document.querySelector('video').played.length")) == plays


def test_at_its_end_a_video_has_one_duration(page, frames, tmp_path):
    """Also where frames are missing, so that the last is shown for less than the others' average."""
    with av.open(str(tmp_path / "holed.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for moment in (0, 1, 2, 9, 10, 11):
            picture = av.VideoFrame.from_ndarray(frames[moment], format="rgb24")
            picture.pts = moment
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    browsing.choose(page, tmp_path / "holed.mp4")
    browsing.finished(page)
    page.get_by_role("button", name="Play").click()
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(12 / 15, abs=0.01)
    duration = f"{11 / 15 * 6 / 5:.2f} s"  # the last of the six takes as long as the five before it on average
    page.locator("#clock", has_text=f"{duration} of {duration}").wait_for()


def paused(page: Any) -> bool:
    """And the button says so."""
    now = page.evaluate("document.querySelector('video').paused")
    page.get_by_role("button", name="Play" if now else "Pause").wait_for()
    return now


@pytest.mark.parametrize("playing", [True, False])
def test_seeking_keeps_the_video_playing_or_paused(playing, page, ten_seconds, found):
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    timeline = page.get_by_role("slider", name="Moment")
    labels, rows = page.locator(".segment"), page.locator("#segments tbody button")
    page.evaluate("document.querySelector('video').playbackRate = 0.1")  # a busy machine has time to look
    if playing:
        page.get_by_role("button", name="Play").click()
    for number in (1, 0, 1):
        labels.nth(number).click(position={"x": 20, "y": 8})
        assert found[number].start < browsing.moment(page) < found[number].end
        assert page.locator("#now li").first.inner_text().startswith(found[number].label)
        assert paused(page) != playing
        rows.nth(number).click()
        assert browsing.moment(page) >= found[number].start
        assert paused(page) != playing
    timeline.press("Home")
    assert browsing.moment(page) == 0, "told at once, also within one window of a video that plays on"
    timeline.press("PageDown")
    assert browsing.moment(page) == pytest.approx(found[1].start, abs=0.01)
    assert paused(page) != playing
    timeline.press("Control+ArrowRight")
    assert browsing.moment(page) < found[1].start + 0.5, "what the browser's keys do is the browser's"
    box = timeline.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 50, box["y"] + 10)
    page.get_by_role("button", name="Play").wait_for()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 10)
    page.mouse.up()
    assert paused(page) != playing
    timeline.press("End")
    page.get_by_role("button", name="Play").wait_for()
    assert browsing.moment(page) == pytest.approx(browsing.SECONDS, abs=0.1), "it stays at the end"
    assert page.locator("#now li").first.inner_text().startswith(found[-1].label)


def test_all_of_it_works_by_the_keyboard(page, ten_seconds, found):
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(ten_seconds)
    browsing.finished(page)
    reached = []
    while not reached or reached[-1] not in reached[:-1]:
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    starts = [f"{segment.start:.2f} s" for segment in found]
    controls = ["choose", "camera", "play", "timeline", "explain", *starts, "For programs"]
    assert [name for name in reached[:-1] if name in controls] == controls
    timeline = page.get_by_role("slider", name="Moment")
    timeline.focus()
    told = []
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "End", "PageUp", "Home", "PageDown", "ArrowDown"):
        page.keyboard.press(key)
        told.append(browsing.moment(page))
    last, second = found[-1].start, found[1].start
    assert told == pytest.approx([0.5, 1.0, 0.5, browsing.SECONDS, last, 0, second, second - 0.5], abs=0.01)
    page.keyboard.press(" ")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play").wait_for()


def drop(page: Any, path: Path, times: int = 1) -> None:
    files = page.evaluate_handle(
        """([text, times]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
            const transfer = new DataTransfer();
            for (let n = 0; n < times; n++) transfer.items.add(new File([bytes], `${n}.mp4`, { type: "video/mp4" }));
            return transfer;
        }""",
        [base64.b64encode(path.read_bytes()).decode(), times],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": files})


def test_a_video_is_dropped(page, ten_seconds, found):
    drop(page, ten_seconds)
    browsing.finished(page)
    assert page.locator("#segments tbody tr").count() == len(found)


def test_of_several_that_are_dropped_none_is_left_out_in_silence(page, ten_seconds):
    sent = browsing.posted(page)
    drop(page, ten_seconds, times=3)
    page.get_by_role("alert").filter(has_text="Drop one file at a time: these were 3.").wait_for()
    assert not sent


def test_a_picture_has_a_label_and_no_timeline(page, frames, tmp_path):
    Image.fromarray(frames[0]).save(tmp_path / "still.png")
    browsing.choose(page, tmp_path / "still.png")
    page.get_by_text("Done.", exact=True).wait_for()
    assert page.locator("#said").inner_text().startswith("The whole picture: ")
    assert page.get_by_role("img", name="The picture that was chosen").is_visible()
    assert not page.get_by_role("slider", name="Moment").is_visible()
    assert not page.locator("#segments").is_visible()


def test_what_is_no_video_has_the_servers_sentence(page, address, ten_seconds, tmp_path):
    noise = np.random.default_rng(0).bytes(50_000)
    (tmp_path / "noise.mp4").write_bytes(noise)
    browsing.choose(page, tmp_path / "noise.mp4")
    alert = page.get_by_role("alert")
    alert.filter(has_text=re.compile(".")).wait_for()
    answer = page.request.post(f"{address}predict", data=noise)
    assert 400 <= answer.status < 500
    assert alert.text_content() == answer.json()["error"]
    assert not page.locator("#result").is_visible()
    assert not page.get_by_role("button", name="Try again").is_visible(), "it will not get better"
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose another file").press("Enter")
    chooser.value.set_files(ten_seconds)
    browsing.finished(page)
    assert not page.get_by_role("button", name="Choose another file").is_visible()
    assert not alert.inner_text(), "the next one begins anew"


def test_what_is_empty_or_too_large_is_not_sent(page, tmp_path):
    limit = page.evaluate("fetch('model').then((answer) => answer.json())")["limits"]["bytes"]
    sent = browsing.posted(page)
    most = (
        f"has {limit / 1e6:g} MB, and this server takes {limit / 1e6:g} MB at most: choose a shorter or a smaller one."
    )
    for size, name, words in ((0, "my  clip.mp4", "is empty."), (limit + 1, "large.mp4", most)):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(size)
        browsing.choose(page, path)
        page.get_by_role("alert").filter(has_text=words).wait_for()
        assert page.get_by_role("alert").inner_text() == f"The file {name} {words}", "as it is called, to the letter"
        assert page.get_by_role("button", name="Choose another file").is_visible()
        assert not page.get_by_role("button", name="Try again").is_visible()
        assert not page.get_by_role("button", name="Cancel").is_visible()
    assert not sent


@pytest.mark.parametrize(("codec", "name"), [("mpeg2video", "old.mpg"), ("libx265", "phone.mp4")])
def test_what_the_browser_cannot_play_has_its_labels(codec, name, page, frames, tmp_path):
    with av.open(str(tmp_path / name), "w") as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=25, options=quiet)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in frames[:75]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    browsing.choose(page, tmp_path / name)
    browsing.finished(page)
    assert page.get_by_text("This browser cannot play this video.").is_visible()
    assert not page.locator("video").is_visible()
    assert not page.get_by_role("button", name="Play").is_visible()
    assert page.locator("#headline").inner_text().endswith("%")
    page.get_by_role("slider", name="Moment").press("End")
    assert browsing.moment(page) == pytest.approx(3, abs=0.05)
    assert page.locator("#now li").count() == 3


def test_what_is_cancelled_is_no_longer_asked(page, ten_seconds):
    page.route("**/predict*", lambda route: None)  # never answered
    with page.expect_event("requestfailed") as ended:
        browsing.choose(page, ten_seconds)
        page.locator("#status", has_text="Sending ten seconds.mp4").wait_for()
        assert page.get_by_role("progressbar").is_visible()
        page.get_by_role("button", name="Cancel").press("Enter")
    assert "/predict" in ended.value.url
    assert page.locator("#status").inner_text() == "Cancelled."
    assert page.evaluate("document.activeElement.id") == "choose", "where the keyboard goes on"
    assert not page.get_by_role("progressbar").is_visible()


def test_a_busy_server_is_asked_again(page, ten_seconds):
    busy = {"status": 503, "json": {"error": "the queue is full: try again in 2 s"}}
    page.route("**/predict*", lambda route: route.fulfill(**busy), times=1)
    browsing.choose(page, ten_seconds)
    page.get_by_role("alert").filter(has_text="the queue is full").wait_for()
    page.get_by_role("button", name="Try again").press("Enter")
    assert page.evaluate("document.activeElement.id") == "stop", "where the keyboard goes on"
    browsing.finished(page)


def test_a_server_that_has_gone_is_told(page, ten_seconds):
    page.route("**/predict*", lambda route: route.abort())
    browsing.choose(page, ten_seconds)
    page.get_by_role("alert").filter(has_text="The server did not answer").wait_for()
    assert page.get_by_role("button", name="Try again").is_visible()


def window(start: float, **scores: float) -> dict[str, Any]:
    return {"start": start, "end": start + 2, "scores": scores}


def in_lines(*objects: dict[str, Any]) -> dict[str, Any]:
    text = "".join(json.dumps(each) + "\n" for each in objects)
    return {"status": 200, "content_type": "application/x-ndjson", "body": text}


def test_an_answer_that_breaks_off_says_so_and_keeps_what_came(page, ten_seconds):
    begun = window(0, left=0.7, up=0.3)
    damaged, ended = {"error": "damaged after 2 s", "status": 422}, {"error": "the server ended", "status": 503}
    answers = [in_lines(begun, damaged), in_lines(begun, ended), in_lines(begun)]
    page.route("**/segments*", lambda route: route.fulfill(**answers.pop(0)))
    browsing.choose(page, ten_seconds)
    alert, again = page.get_by_role("alert"), page.get_by_role("button", name="Try again")
    alert.filter(has_text="damaged after 2 s").wait_for()
    assert page.locator(".segment").all_inner_texts() == ["left"]
    assert not again.is_visible()
    browsing.choose(page, ten_seconds)
    alert.filter(has_text="the server ended").wait_for()
    again.click()
    alert.filter(has_text="broke off").wait_for()
    assert again.is_visible()


@pytest.mark.parametrize(
    ("spans", "gap"),
    [
        ([(0, 6), (2, 8), (8.001, 10)], ""),  # times are rounded
        *(
            (spans, " In gaps the model is not sure enough.")
            for spans in ([(0, 6), (2, 8)], [(2, 8), (8, 10)], [(0, 8), (2, 6), (9, 10)])
        ),
    ],
)
def test_gaps_are_told_of_where_there_are_some(spans, gap, page, ten_seconds):
    found = [{"start": start, "end": end, "label": "left", "score": 0.9} for start, end in spans]
    last = {"segments": found, "duration": 10}
    page.route("**/segments*", lambda route: route.fulfill(**in_lines(window(0, left=0.9), last)))
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    rule = "Windows of 2 s, each by itself; neighbours of one label put together."
    assert page.locator("#rule").inner_text() == rule + gap


def test_segments_of_several_classes_at_once_lie_above_one_another(page, ten_seconds):
    whole = [("a", 0, 6), (HOSTILE, 2, 8), ("c", 6, 10)]
    last = {"segments": [{"start": a, "end": b, "label": label, "score": 0.9} for label, a, b in whole], "duration": 10}
    page.route("**/segments*", lambda route: route.fulfill(**in_lines(window(0, **{"a": 0.9, HOSTILE: 0.8}), last)))
    browsing.choose(page, ten_seconds)
    browsing.finished(page)
    boxes = {box.inner_text(): box.bounding_box() for box in page.locator(".segment").all()}
    assert boxes["a"]["y"] == boxes["c"]["y"] < boxes[HOSTILE]["y"]
    assert page.locator("#segments tbody tr td:nth-child(3)").all_inner_texts() == ["a", HOSTILE, "c"]
    assert page.locator("#now li").nth(1).inner_text().startswith(HOSTILE)
    assert boxes["a"]["x"] + boxes["a"]["width"] == pytest.approx(boxes["c"]["x"], abs=1)
    assert len({box.get_attribute("data-colour") for box in page.locator(".segment").all()}) == 3
