"""The commands that ask a model about videos, thin as those of ``cli``, which lists them."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mvit.commandline import DONE, USERS_INPUT, numbers, progress_bar

if TYPE_CHECKING:
    from mvit.deploy.answers import Answer

AUTO: Literal["auto"] = "auto"
BATCH = 8


def predict(
    run: Path,
    videos: tuple[Path, ...],
    /,
    *,
    views: str | None = None,
    fast: bool = False,
    top: int = 5,
    json: bool = False,
    csv: bool = False,
    out: Path | None = None,
    ray: bool = False,
    batch: int = BATCH,
) -> int:
    """Name what videos show, with scores by class name; an unreadable one is named and the others go on.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        videos: videos, parts of them (clip.mp4#t=2.5,10), folders of any depth, patterns
        views: clips x crops of each video, such as 5x1, or auto, which takes clips until one class is surely ahead;
            the run's own if not given, with which it was evaluated
        fast: the same as --views 1x1
        top: classes to print for each, the most likely first
        json: print an object a line, with the scores of all classes
        csv: print a row a video, with the scores of all classes
        out: NAME.jsonl for such objects instead, or a folder for Parquet; what is in it already is not asked again, so
            an interrupted run goes on
        ray: by as many processes as the Ray cluster has cores or GPUs, or as this machine has; with --out FOLDER
        batch: clips that are computed together
    """
    from json import dumps

    from mvit.data.gather import gather
    from mvit.data.samples import medium_of
    from mvit.deploy import bulk, told
    from mvit.deploy.answers import answers, protocol, settled_answers
    from mvit.deploy.opened import fingerprint, load

    if top < 1 or batch < 1:
        raise ValueError(f"--top is {top} and --batch {batch}: both are 1 or more")
    if not videos:
        raise ValueError("predict needs at least one video: mvit predict RUN VIDEO...")
    asked = _views(views, fast)
    parts = _into_parts(out, asked, json=json, csv=csv, ray=ray)
    model = load(run)
    how = None if asked == AUTO else asked or model.views
    samples = gather(videos, images=model.preprocessing.sampling.frames == 1)
    facts = {"model": str(run), "activation": model.scoring.activation, "protocol": protocol(model, how)}
    if json or out is not None:
        facts["fingerprint"] = fingerprint(run)
        if not all(sample.path.is_absolute() for sample in samples):
            facts["folder"] = str(Path.cwd())

    def show(answer: "Answer") -> None:
        if json:
            print(told.as_json(answer, facts), flush=True)
        elif csv:
            print(told.as_csv(answer, model.classes), flush=True)
        elif answer.error is None:
            print(told.as_text(answer, top, several=model.scoring.multi_label), flush=True)

    todo, tell, failed = samples, show, 0
    with ExitStack() as stack:
        if parts and out is not None and how is not None:
            facts["classes"] = dumps(model.classes, ensure_ascii=False)
            job = bulk.Job(model=run.resolve(), folder=out.resolve(), views=how, batch=batch, facts=facts)
            todo, tell = stack.enter_context(bulk.undone(job, samples)), _written_already
            found = bulk.on_ray(job, todo) if ray else bulk.here(job, model, todo)
        else:
            if out is not None:
                todo, tell = stack.enter_context(told.into_lines(out, samples, facts))
            found = settled_answers(model, todo, batch=batch) if how is None else answers(model, todo, how, batch=batch)
        if csv:
            print(told.csv_header(model.classes))
        # Where answers come one by one on a terminal, they are what moves on.
        bar = len(todo) > 1 and (out is not None or not sys.stdout.isatty())
        progress = stack.enter_context(progress_bar("predicting")) if bar else None
        for number, answer in enumerate(found, start=1):
            failed += _told(answer.video, answer.error)
            tell(answer)
            if progress is not None:
                progress(number, len(todo))
    if failed and len(todo) > 1:
        print(f"mvit: {failed:,} of {len(todo):,} {medium_of(todo)} could not be read", file=sys.stderr)
    if out:
        before = len({sample.id for sample in samples}) - len(todo)
        print(f"Wrote {len(todo):,} answers to {out}" + (f", where {before:,} stood" if before else ""))
    return USERS_INPUT if failed and failed == len(todo) else DONE


def _views(views: str | None, fast: bool) -> tuple[int, int] | Literal["auto"] | None:
    """The views that are asked for: so many, as many as it takes, or, None, the run's own."""
    if fast and views:
        raise ValueError(f"--fast is --views 1x1, but --views is {views}: choose one")
    if views == AUTO:
        return AUTO
    words = "1x1" if fast else views
    return numbers(words, "clips x crops, such as 5x1, nor auto", 2) if words else None


def _into_parts(out: Path | None, asked: object, *, json: bool, csv: bool, ray: bool) -> bool:
    """Whether answers go into a folder of Parquet, after a look whether what is asked for goes together."""
    from mvit.deploy import told

    if (forms := json + csv + (out is not None)) > 1:
        raise ValueError(f"--json, --csv and --out are {forms} forms of the same: choose one")
    parts = out is not None and out.suffix != told.LINES
    if parts and out is not None and out.suffix:
        raise ValueError(f"{out} ends in {out.suffix}: --out is NAME{told.LINES}, or a folder for Parquet")
    if parts and asked == AUTO:
        raise ValueError(f"--views auto answers one video after the other: give --out NAME{told.LINES}")
    if ray and not parts:
        raise ValueError("--ray answers very many videos into a folder of Parquet: give --out FOLDER")
    return parts


def _written_already(answer: "Answer") -> None:
    """With the others of its part."""


def embed(
    run: Path,
    videos: tuple[Path, ...],
    /,
    *,
    out: Path,
    of: Literal["video", "clip", "dense"] = "video",
    views: str | None = None,
    batch: int = BATCH,
) -> int:
    """Write what a model knows of videos before it names them, as vectors to search and to learn from.

    Args:
        run: run folder of one of our models, or its model.safetensors
        videos: as for predict
        out: NAME.npy, with NAME.csv beside it for what its rows are of; NAME.parquet; of dense ones a new folder
        of: a vector of each video, of each clip, or dense: what every stage gives of every view, a file a video
        views: clips x crops of each video, such as 5x1; the run's own if not given
        batch: clips that are computed together
    """
    from mvit.data.gather import gather
    from mvit.data.samples import counted, medium_of
    from mvit.data.views import describe
    from mvit.deploy import embedding
    from mvit.deploy.predictor import load

    if batch < 1:
        raise ValueError(f"--batch is {batch}: it is 1 or more")
    if not videos:
        raise ValueError("embed needs at least one video: mvit embed RUN VIDEO... --out FILE")
    model = load(run)
    how = numbers(views, "clips x crops, such as 5x1", 2) if views else model.views
    samples = gather(videos, images=model.preprocessing.sampling.frames == 1)
    if of != "dense":
        embedding.require_writable(out, samples)
    vectors, failed = embedding.Vectors(), 0
    with progress_bar("embedding") as progress:
        if of == "dense":
            dense = embedding.write_dense(model, samples, out, how, batch=batch)
            for number, (sample, what) in enumerate(dense, start=1):
                failed += _told(sample.id, what)
                progress(number, len(samples))
        else:
            for number, (sample, what) in enumerate(embedding.embedded(model, samples, how, batch=batch), start=1):
                failed += _told(sample.id, what)
                if not isinstance(what, str):
                    embedding.collect(sample, what, of, how[1], vectors)
                progress(number, len(samples))
    if failed == len(samples):
        return USERS_INPUT
    written = [out]
    if of != "dense":
        facts = {"model": str(run), "protocol": describe(model.preprocessing, how[0], how[1])}
        written = embedding.write(vectors, out, facts)
    whole = counted(len(samples), medium_of(samples).removesuffix("s"))
    print(f"Wrote {len(samples) - failed:,} of {whole} to {' and '.join(map(str, written))}")
    return DONE


def _told(video: Path, what: object) -> bool:
    """Whether it is a reason why a video cannot be read, which is then printed."""
    if isinstance(what, str):
        print(f"mvit: {video} cannot be read: {what}", file=sys.stderr)
    return isinstance(what, str)
