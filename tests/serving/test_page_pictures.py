"""The page of a server whose model looks at pictures: what it asks for, and what it says of one and of a video."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import browsing
from exports import PREPROCESSING, write_run
from mvit.data.sampling import ClipSampling
from mvit.data.views import describe
from served import Served


@pytest.fixture(scope="module")
def address(library, tmp_path_factory) -> Iterator[str]:
    for module in ("granian", "starlette"):
        library(module, "serve")
    still = replace(PREPROCESSING, sampling=ClipSampling(frames=1, spacing=1))
    changes = {"preprocessing": still.to_dict(), "views": [1, 1], "protocol": describe(still, 1, 1)}
    with Served(write_run(tmp_path_factory.mktemp("runs") / "pictures", **changes)) as served:
        yield f"http://127.0.0.1:{served.port}/"


def test_it_asks_for_a_picture(page, address, frames, tmp_path):
    assert page.get_by_text("Drop a picture here").is_visible()
    assert page.locator("#limits").inner_text() == "Up to 100 MB and 12.6 million pixels."
    assert page.locator("#file").get_attribute("accept") == "image/jpeg,image/png,image/webp"
    path = tmp_path / "still.png"
    Image.fromarray(frames[0]).save(path)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(path)
    page.get_by_text("Done.", exact=True).wait_for()
    page.get_by_label("Show where the model looks").check()
    page.locator("#explained", has_text=re.compile(r"the brighter, the more\.$")).wait_for()
    assert page.locator("#overlay").is_visible()


def test_where_it_looks_in_a_video_is_of_one_moment(page, address, ten_seconds: Path):
    page.locator("#file").set_input_files(ten_seconds)
    browsing.finished(page)
    page.get_by_label("Show where the model looks").check()
    (moment,) = page.request.post(f"{address}explain", data=ten_seconds.read_bytes()).json()["times"]
    page.locator("#explained", has_text=f"the more. It is of the picture at {moment:.2f} s.").wait_for()
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Go there").click()
    page.locator("#overlay").wait_for()
    page.get_by_role("button", name="Play").wait_for()
    assert browsing.moment(page) == pytest.approx(moment, abs=0.01)
    assert page.locator("#overlay").is_visible(), "it stays"
