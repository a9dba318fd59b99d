"""The commands for long videos and for cameras, thin as those of ``cli``, which lists them."""

import sys
from pathlib import Path
from typing import Any

from mvit import commandline, files
from mvit.commandline import DONE, USERS_INPUT, progress_bar

FPS = 25
"""Of an overlay, as far as its encoder asks, where the source does not say."""


def segment(
    run: Path,
    video: Path,
    /,
    *,
    window: str = "2s",
    stride: str = "0.5s",
    enter: float = 0.5,
    leave: float = 0.4,
    out: tuple[Path, ...] = (),
    overlay: Path | None = None,
) -> int:
    """Name what a long video shows from when to when: windows classified one by one, neighbours merged.

    This is windowed classification, not detection: a segment begins and ends no finer than by the stride.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        video: a video of any length; its frames are decoded once and few are held
        window: seconds that are classified at once, as if they were a video by themselves
        stride: seconds from the beginning of one window to that of the next
        enter: score from which on a class begins a segment
        leave: score below which it ends
        out: files for the segments: .json, .csv, .srt or .vtt
        overlay: MP4 with the classes and scores written into the pictures, which must not exist
    """
    from mvit.data.samples import counted
    from mvit.data.video import Video
    from mvit.deploy import segments as segmenting
    from mvit.deploy.opened import load
    from mvit.deploy.windows import Sweep, Windowing

    windowing = Windowing(window_seconds=commandline.seconds(window), stride_seconds=commandline.seconds(stride))
    hysteresis = segmenting.Hysteresis(enter=enter, leave=leave)
    _require_new(overlay, video)
    with Video(video) as opened:  # what cannot be read is refused before torch is imported
        segmenting.require_writable(out)
        model = load(run)
        sweep = Sweep(model, opened, windowing)
        with progress_bar("classifying windows") as progress:

            def told() -> Any:
                for scored in sweep:
                    progress(sweep.done, len(sweep.parts))
                    yield scored

            found = list(segmenting.segments(told(), model.classes, hysteresis, multi_label=model.scoring.multi_label))
        found.sort(key=lambda segment: (segment.start, segment.end))
        about = segmenting.about(model, video, windowing, hysteresis, sweep)
        for path in out:
            segmenting.write(found, path, about)
        for one in found:
            print(f"{segmenting.clock(one.start)}  {segmenting.clock(one.end)}  {one.score:6.1%}  {one.label}")
        if overlay is not None:
            from mvit.deploy.overlay import draw

            draw(opened, overlay, segmenting.captions(found), sweep.end_seconds)
    count = counted(len(found), "segment")
    print(f"{video}: {count} in {segmenting.clock(sweep.end_seconds)}, {about['protocol']}")
    print(f"This is windowed classification: {about['note']}.")
    written = [*out, *([overlay] if overlay else [])]
    if written:
        print(f"Wrote {', '.join(map(str, written))}")
    if sweep.damage is not None:
        reached = f"{sweep.done:,} of {len(sweep.parts):,} windows, up to {sweep.end_seconds:g} s"
        print(f"mvit: {sweep.damage}; {reached}, were classified", file=sys.stderr)
        return USERS_INPUT
    return DONE


def watch(
    run: Path,
    source: str,
    /,
    *,
    window: str = "2s",
    stride: str = "0.5s",
    json: bool = False,
    overlay: Path | None = None,
) -> int:
    """Name what a camera, an RTSP or HTTP stream, or a file played in real time shows now, window by window.

    This is windowed classification, not detection of when something begins. Where the model does not keep up, old
    windows are left out and counted. Ends with the source, or with Ctrl-C; either way with a summary.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        source: a camera (/dev/video0), an address (rtsp://, rtsps://, http://, https://), or a file
        window: seconds that are classified at once, as if they were a video by themselves
        stride: seconds from the beginning of one window to that of the next
        json: print an object a line, with the scores of all classes; the last one is the summary
        overlay: MP4, which must not exist, of the frames that came, each with the label that was known when it came;
            whole also after Ctrl-C
    """
    from contextlib import closing, nullcontext
    from json import dumps

    from mvit.data.live import shown
    from mvit.data.samples import counted
    from mvit.deploy.opened import load
    from mvit.deploy.segments import clock
    from mvit.deploy.sources import opened
    from mvit.deploy.watching import Watch
    from mvit.deploy.windows import Windowing
    from mvit.distributed.interruption import TerminatedError, terminable

    def say(sentence: str) -> None:
        print(f"mvit: {sentence}", file=sys.stderr, flush=True)

    windowing = Windowing(window_seconds=commandline.seconds(window), stride_seconds=commandline.seconds(stride))
    _require_new(overlay, Path(source))
    feed = opened(source, say)  # what cannot be watched is refused before torch is imported
    model = load(run)
    drawn = None
    if overlay is not None:
        from mvit.deploy.overlay import Overlay

        drawn = Overlay(overlay, feed.fps or FPS, keep=(KeyboardInterrupt, ValueError))
    watched = Watch(model, feed, windowing, say, draw=drawn.add if drawn else None)
    say(f"watching {shown(source)} in {windowing}: windowed classification, each window by itself")

    def summed_up() -> None:
        facts = watched.summary
        if json:
            print(dumps({"summary": facts}), flush=True)
        say(
            f"{clock(facts['seconds'])} watched: {counted(facts['windows_labelled'], 'window')} labelled, "
            f"{facts['windows_skipped']:,} left out; {counted(facts['frames'], 'frame')} came, "
            f"{facts['frames_dropped']:,} were dropped, {facts['damaged']:,} damaged; "
            f"{counted(facts['reconnects'], 'reconnection')}; latency "
            f"{facts['latency_seconds_mean']:.2f} s on average, {facts['latency_seconds_most']:.2f} s at most"
        )
        if drawn and drawn.written:
            say(f"wrote {overlay}")

    try:
        with terminable(summed_up), drawn or nullcontext(), closing(iter(watched)) as labels:
            for one in labels:
                start, end = one.part.start, one.part.end or 0.0
                if json:
                    scores = dict(zip(model.classes, map(float, one.scores), strict=True))
                    facts = {"start": round(start, 3), "end": round(end, 3), "label": one.label, "score": one.score}
                    counts = {"latency_seconds": round(one.latency_seconds, 4), "windows_skipped": one.skipped}
                    print(dumps(facts | counts | {"scores": scores}, ensure_ascii=False), flush=True)
                else:
                    line = f"{clock(start)}  {clock(end)}  {one.score:6.1%}  {one.label}"
                    print(f"{line}  (+{one.latency_seconds:.2f} s)", flush=True)
    except TerminatedError:
        return DONE  # as it was asked to
    except KeyboardInterrupt:
        summed_up()
        raise
    except (ValueError, OSError):
        if watched.summary["frames"]:
            summed_up()
        raise
    summed_up()
    return DONE


def _require_new(overlay: Path | None, source: Path) -> None:
    """Refuse before the work what could not be written after it."""
    if overlay is None:
        return
    if overlay.suffix.lower() != ".mp4":
        raise ValueError(f"{overlay} does not end in .mp4, which the overlay is")
    if overlay.exists() and source.exists() and overlay.samefile(source):
        raise ValueError(f"{overlay} is the video itself: give the overlay another name")
    if overlay.exists():
        raise FileExistsError(f"{overlay} exists already: name another file with --overlay")
    files.require_writable(overlay)
