"""A real browser for tests of the served page: what it shows, and whatever it complains of or asks other hosts for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    "--use-fake-device-for-media-stream=fps=5",  # a busy machine has time for
]
CAMERA_ALLOWED = "--use-fake-ui-for-media-stream"
UNANSWERED = "Failed to load resource: "
"""So Chromium logs any answer that is not 2xx, or none; whether it should have come is each test's to say."""
SECONDS, FRAMES_PER_SECOND = 10, 15
"""Of the video that the page is mostly shown."""
MILLISECONDS = 60_000
"""To wait for anything: a machine may have much else to do."""


@contextmanager
def launcher(chromium: str) -> Iterator[Callable[..., Any]]:
    """What starts a Chromium under Playwright, with these flags and more; whatever was started ends with it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as ending:

        def launch(*flags: str) -> Any:
            browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
            ending.callback(browser.close)
            return browser

        yield launch


@contextmanager
def visit(browser: Any, address: str, **context: Any) -> Iterator[Any]:
    """A page of its own; fails at the end where it logged an error or asked another host for anything."""
    opened = browser.new_context(**{"reduced_motion": "reduce"} | context)
    page = opened.new_page()
    page.set_default_timeout(MILLISECONDS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: complaints.append(asked.url) if not _own(asked.url, address) else None)
    page.on("filechooser", lambda chooser: None)  # so that Chromium tells of them before the first key is pressed
    page.goto(address)
    page.locator("#choose:enabled").wait_for()
    yield page
    opened.close()
    assert [one for one in complaints if not one.startswith(UNANSWERED)] == []


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "blob:" + address.rstrip("/")))


def choose(page: Any, path: Path) -> None:
    """Choose a file by the page's button."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a video").click()
    chooser.value.set_files(path)


def finished(page: Any) -> None:
    """Wait until all answers to a file are there."""
    page.locator("#status", has_text="Done").wait_for()


def moment(page: Any) -> float:
    """Seconds, under the playhead."""
    return float(page.get_by_role("slider", name="Moment").get_attribute("aria-valuenow"))


def posted(page: Any) -> list[str]:
    """What files will be sent to from now on."""
    addresses: list[str] = []
    page.on("request", lambda asked: addresses.append(asked.url) if asked.method == "POST" else None)
    return addresses
