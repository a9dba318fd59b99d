"""Answers to very many videos: a folder of Parquet parts, each written whole, by this process or by those of Ray.

What a part holds is done and is not asked again, so the same command goes on where it was stopped.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit import files
from mvit.data.samples import Sample
from mvit.data.sampling import Part
from mvit.deploy.answers import Answer, answers
from mvit.deploy.described import Described
from mvit.deploy.opened import load
from mvit.deploy.told import LINES, arrow, differing, remaining, require_unicode
from mvit.distributed.lock import locked

PART = 200
"""Videos of a part: what a kill costs at most, in each process."""
LOCK = ".mvit-lock"
"""Holds the folder; readers of Parquet pass over names that begin so."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all parts of a folder have in common."""

    model: Path
    folder: Path
    views: tuple[int, int]
    batch: int
    facts: Mapping[str, str]
    """What answers are of, told in every part: those of other facts do not go into one folder."""


@contextmanager
def undone(job: Job, samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Those whose answers do not lie in the folder's parts yet; while it is entered, nobody else may write there.

    Raises ``ValueError`` for a file that is no part, for parts of other facts, where another process holds the
    folder, and for a name that Parquet cannot hold.
    """
    arrow()
    require_unicode([*job.facts.values(), *(sample.id for sample in samples)])
    if job.folder.exists() and not job.folder.is_dir():
        raise ValueError(f"{job.folder} is a file: --out is a folder for Parquet, or NAME{LINES}")
    with files.blaming(job.folder):
        files.require_writable(job.folder / LOCK)
    with locked(job.folder, LOCK):
        yield remaining(samples, _done_before(job.folder, job.facts))


def _done_before(folder: Path, facts: Mapping[str, str]) -> set[str]:
    from pyarrow import ArrowInvalid, parquet

    done: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name == LOCK:
            continue
        if files.left_by_a_kill(path):
            path.unlink()
            continue
        try:
            table = parquet.read_table(path, columns=["video"])
        except (ArrowInvalid, KeyError, OSError) as why:
            raise ValueError(f"{path} is no part of predictions: name another folder with --out") from why
        told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if other := differing(told, facts):
            raise ValueError(f"{path} holds predictions of another kind ({other}): name another folder with --out")
        done.update(table["video"].to_pylist())
    return done


def here(job: Job, model: Described, samples: Sequence[Sample]) -> Iterator[Answer]:
    """Answer all in this process, and give the answers of each part once it is written."""
    for part in _parts(samples):
        yield from _write(job, model, part)


def on_ray(job: Job, samples: Sequence[Sample]) -> Iterator[Answer]:
    """The same by as many processes as the cluster has processors, or GPUs where it has any, in any order.

    Every machine of it must find model, videos and folder at the same paths. A cluster that was started for this, on
    this machine, is ended with it.
    """
    ray = _ray()
    if not samples:
        return
    with nullcontext() if ray.is_initialized() else ray.init():
        gpus, cores = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
        parts = [{"samples": json.dumps([_packed(sample) for sample in part])} for part in _parts(samples)]
        workers = max(1, min(len(parts), gpus or cores - 1))  # one core feeds the others
        found = ray.data.from_items(parts, override_num_blocks=len(parts)).map(
            _Worker, fn_constructor_args=(job,), concurrency=workers, num_cpus=1, num_gpus=1 if gpus else 0
        )
        for line in found.iter_rows():
            yield from (Answer(video=Path(video), error=error) for video, error in json.loads(line["said"]))


class _Worker:
    """A process of Ray with the model."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = load(job.model)

    def __call__(self, line: dict[str, str]) -> dict[str, str]:
        samples = [_unpacked(packed) for packed in json.loads(line["samples"])]
        said = _write(self.job, self.model, samples)
        return {"said": json.dumps([(str(answer.video), answer.error) for answer in said])}


def _parts(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    return (samples[first : first + PART] for first in range(0, len(samples), PART))


def _packed(sample: Sample) -> list[Any]:
    return [str(sample.path), *((sample.part.start, sample.part.end) if sample.part else ())]


def _unpacked(packed: Sequence[Any]) -> Sample:
    path, *part = packed
    return Sample(Path(path), (), part=Part(*part) if part else None)


def _write(job: Job, model: Described, samples: Sequence[Sample]) -> list[Answer]:
    """Answer one part, write it, and give the answers."""
    pyarrow = arrow()
    from pyarrow import parquet

    said = list(answers(model, samples, job.views, batch=job.batch))
    scores = [None if each.scores is None else [each.scores[name] for name in model.classes] for each in said]
    first = [None if each.scores is None else next(iter(each.scores)) for each in said]
    columns = {
        "video": pyarrow.array([str(each.video) for each in said], pyarrow.string()),
        "predicted": pyarrow.array(first, pyarrow.string()),
        "scores": pyarrow.array(scores, pyarrow.list_(pyarrow.float64())),
        "views": pyarrow.array([each.views for each in said], pyarrow.int32()),
        "error": pyarrow.array([each.error for each in said], pyarrow.string()),
    }
    with files.replacing(job.folder / f"part-{secrets.token_hex(8)}.parquet") as temporary:
        parquet.write_table(pyarrow.table(columns).replace_schema_metadata(dict(job.facts)), temporary)
    return said


def _ray() -> Any:
    try:
        import ray.data
    except ImportError as missing:
        raise ValueError("--ray needs Ray: pip install 'mvit[scale]', or leave it out") from missing
    return ray
