"""Kill processes of a training at random steps, let it go on, and compare with one that nobody disturbed, by sha256.

    python benchmarks/faults.py --trials 20 --out benchmarks/results/faults.json

Each trial starts the processes of a run as torchrun would, kills one of them, or one that decodes for it, with SIGKILL
in a step drawn by chance, starts them again with --resume, and compares weights, the whole last checkpoint (model,
optimiser, average), metrics and scores. It takes an hour or so on two cores.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np

from mvit import cli
from mvit.data import video
from mvit.data.loader import TrainLoader
from mvit.distributed import group
from mvit.files import require_writable
from mvit.provenance import provenance, write
from mvit.training import checkpoint, loop
from mvit.training.course import MEASURED
from mvit.training.learner import Learner

EPOCHS, STEPS, LIMIT_SECONDS = 3, 3, 600.0
RECIPE = (
    "data.views=[1,1]",
    "model.head_dropout=0.3",
    "model.drop_path=0.2",
    "optim.lr=8e-3",
    "optim.ema_decay=0.9",
    "optim.mixup=0.2",
    "optim.cutmix=1.0",
    f"train.epochs={EPOCHS}",
    "train.batch=8",
    "train.device=cpu",
    "train.precision=float32",
)
"""Everything random that a step can hold is on, and weights are averaged; 24 videos make 3 steps of 8."""


@dataclass(frozen=True)
class Fault:
    """A process to kill: a rank, or one that decodes for it, as it begins its step of this number since its start.

    A rank may also be stopped, so that it hangs; the others wait for ``patience_seconds``.
    """

    rank: int
    step: int
    victim: Literal["rank", "decoder", "hanging"] = "rank"
    patience_seconds: float = group.HANG_SECONDS


def write_videos(folder: Path) -> Path:
    """Three classes that differ in brightness: 8 videos of each to learn from, one to judge by."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 1)):
        for label, level in (("bright", 200), ("dark", 50), ("middle", 125)):
            (folder / part / label).mkdir(parents=True)
            for index in range(count):
                frames = np.clip(level + rng.normal(0, 25, (8, 32, 40, 3)), 0, 255).astype(np.uint8)
                video.write(folder / part / label / f"{index}.mp4", frames)
    return folder


def train(arguments: Sequence[str], ranks: int, log: Path, fault: Fault | None = None) -> list[int | None]:
    """``mvit train`` in so many processes; gives their exit codes (a negative one is a signal's), writes what they say.

    They are forked from a process that has imported everything, which takes seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "mvit.cli", "mvit.training.loop", "mvit.analysis.report"])
    port = free_port()
    started = [context.Process(target=_rank, args=(rank, ranks, port, arguments, log, fault)) for rank in range(ranks)]
    for process in started:
        process.start()
    hanging = [started[fault.rank]] if fault is not None and fault.victim == "hanging" else []
    for process in [one for one in started if one not in hanging]:
        process.join(LIMIT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"a rank did not end within {LIMIT_SECONDS:g} seconds; {log} holds what was said")
    for process in hanging:
        process.kill()
        process.join()
    return [process.exitcode for process in started]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _rank(rank: int, ranks: int, port: int, arguments: Sequence[str], log: Path, fault: Fault | None) -> None:
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"})
    if fault is not None:
        group.HANG_SECONDS = fault.patience_seconds
        prepare(fault, rank)
    code = cli.main(["train", *arguments])
    sys.stdout.flush()
    sys.exit(code)


def prepare(fault: Fault, rank: int) -> None:
    """Have this process do it to itself, so that it happens in the very step."""
    if fault.rank != rank:
        return
    step, loaders, steps = Learner.step, [], []

    class Known(TrainLoader):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            loaders.append(self)

    def counted(self: Learner, *arguments: Any) -> Any:
        steps.append(None)
        if len(steps) == fault.step:
            decoder, hanging = (fault.victim == victim for victim in ("decoder", "hanging"))
            process = loaders[0]._loader._iterator._workers[0].pid if decoder else os.getpid()
            os.kill(process, signal.SIGSTOP if hanging else signal.SIGKILL)
        return step(self, *arguments)

    patch.object(loop, "TrainLoader", Known).start()
    patch.object(Learner, "step", counted).start()


def digests(run: Path) -> dict[str, str]:
    """A sha256 of each thing that two runs which are alike have alike."""
    saved = checkpoint.load_latest(run / "checkpoints", print)
    assert saved is not None
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    metrics = [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]
    parts: dict[str, bytes] = {
        "model.safetensors": (run / "model.safetensors").read_bytes(),
        "scores.csv": (run / "scores.csv").read_bytes(),
        "metrics.jsonl": json.dumps(metrics).encode(),
        "position": json.dumps(saved.meta).encode(),
    }
    for name in sorted(saved.tensors):
        part = name.partition("/")[0]
        parts[part] = parts.get(part, b"") + name.encode() + saved.tensors[name].numpy().tobytes()
    return {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}


def survives(
    data: Path, folder: Path, ranks: int, parallel: str, fault: Fault, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Train with a fault and go on; gives what is alike and what the processes ended with."""
    run, log = folder / "run", folder / "log"
    recipe = [*RECIPE, f"train.parallel={parallel}", f"train.workers={int(fault.victim == 'decoder')}", *more]
    command = [str(data), "--model", "mvit_test_4x32", "--out", str(run), *recipe]
    codes = train(command, ranks, log, fault)
    done = (run / "metrics.jsonl").read_text(encoding="utf-8").count("\n") if (run / "metrics.jsonl").exists() else 0
    again = train([*command, "--resume"], ranks, log)
    return {"fault": asdict(fault), "codes": codes, "epochs_done": done, "codes_going_on": again, "run": run}


def undisturbed(data: Path, folder: Path, ranks: int, parallel: str, more: Sequence[str] = ()) -> dict[str, str]:
    """The digests of a run that nothing disturbs."""
    recipe = [*RECIPE, f"train.parallel={parallel}", "train.workers=0", *more]
    codes = train(
        [str(data), "--model", "mvit_test_4x32", "--out", str(folder), *recipe], ranks, folder.with_suffix(".log")
    )
    assert codes == [0] * ranks, folder.with_suffix(".log").read_text(encoding="utf-8")
    return digests(folder)


def main() -> None:
    """Run the trials and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="ranks to kill, of each kind of run")
    parser.add_argument("--decoders", type=int, default=5, help="decoding processes to kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    require_writable(options.out)
    rng = random.Random(options.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        data = write_videos(Path(place) / "videos")
        for ranks, parallel in ((1, "ddp"), (2, "ddp"), (2, "fsdp")):
            expected = undisturbed(data, Path(place) / f"undisturbed-{ranks}-{parallel}", ranks, parallel)
            for victim, count in (("rank", options.trials), ("decoder", options.decoders)):
                trials = []
                for trial in range(count):
                    fault = Fault(rng.randrange(ranks), rng.randint(1, EPOCHS * STEPS), victim)
                    folder = Path(place) / f"{ranks}-{parallel}-{victim}-{trial}"
                    folder.mkdir()
                    found = survives(data, folder, ranks, parallel, fault)
                    ended = digests(found.pop("run"))
                    found["alike"] = [name for name in expected if ended[name] == expected[name]]
                    found["unlike"] = [name for name in expected if ended[name] != expected[name]]
                    trials.append(found)
                good = sum(not found["unlike"] and not any(found["codes_going_on"]) for found in trials)
                print(f"{ranks} processes, {parallel}, {victim} killed: {good} of {len(trials)} alike", flush=True)
                rows.append(
                    {
                        "processes": ranks,
                        "parallel": parallel,
                        "victim": victim,
                        "alike": good,
                        "of": len(trials),
                        "digests": expected,
                        "trials": trials,
                    }
                )
    write(provenance("cpu") | {"command": shlex.join(["python", *sys.argv]), "rows": rows}, options.out)


if __name__ == "__main__":
    main()
