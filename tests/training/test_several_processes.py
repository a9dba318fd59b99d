"""Several real processes train one model, as torchrun and srun start them: on CPUs, over gloo."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import faults
import pytest
import safetensors.torch
import torch
from faults import Fault

from mvit.training.course import MEASURED

pytestmark = pytest.mark.timeout(600)  # real processes, on cores that others may use
DETERMINED = ("model.head_dropout=0", "model.drop_path=0", "optim.mixup=0", "optim.cutmix=0")
"""Without what each process draws for itself: dropout, and partners in its part of the batch."""
QUIET = ("--model", "mvit_test_4x32", *faults.RECIPE, "train.workers=0")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faults.write_videos(tmp_path_factory.mktemp("faults") / "videos")


@pytest.fixture(scope="module")
def train(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run `mvit train` in so many processes; gives exit codes and what was printed."""

    def call(out: Path, ranks: int, *more: str, fault: Fault | None = None, data: Path = videos) -> tuple[list, str]:
        log = tmp_path_factory.mktemp("log") / "log"
        codes = faults.train([str(data), "--out", str(out), *QUIET, *more], ranks, log, fault)
        return codes, log.read_text(encoding="utf-8")

    return call


@pytest.fixture(scope="module")
def two(train: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two processes, and what it said."""
    run = tmp_path_factory.mktemp("two") / "run"
    codes, said = train(run, 2)
    assert codes == [0, 0], said
    return run, said


def timeless(run: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


ASKING = """
import sys
import torch
from mvit import create_model
from mvit.data.clips import Batch
from mvit.distributed import launch
from mvit.distributed.group import joined
from mvit.recipes.recipe import load
from mvit.training.hardware import choose
from mvit.training.learner import learner

recipe = load(None, ["train.device=cpu", "train.precision=float32", "data.frames=4", "data.crop=32"])
torch.manual_seed(0)
with joined(launch.place()) as ranks:
    model = create_model("mvit_test_4x32", num_classes=3)
    pupil = learner(
        *(model, recipe.optim, choose(recipe.train), recipe.data.preprocessing()),
        accumulate=2, ranks=ranks, sharded=sys.argv[1] == "fsdp",
    )

    def ask(clips):
        batch = Batch(torch.zeros(clips, 3, 4, 32, 32, dtype=torch.uint8), torch.zeros(clips, dtype=torch.int64), [])
        print(pupil.first_not_finite(batch, together=4), flush=True)

    def breaks(hook, place):
        return model.get_submodule(place).register_forward_hook(hook) if ranks.place.rank == 1 else None

    def broken_gradient(module, inputs, output):
        output.register_hook(lambda gradient: gradient * float("nan"))

    ask(2)
    ask(0 if ranks.place.rank == 1 else 4)
    for hook, place in ((lambda module, inputs, output: output / 0, "blocks.1.mlp"), (broken_gradient, "head")):
        handle = breaks(hook, place)
        ask(2)
        if handle is not None:
            handle.remove()
    with torch.no_grad():
        model.stem.bias.fill_(float("inf"))
    ask(0 if ranks.place.rank == 0 else 4)
"""


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_what_was_not_finite_first_on_any_rank_is_known_to_all(tmp_path: Path, parallel: str):
    (tmp_path / "asking.py").write_text(ASKING, encoding="utf-8")
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    place["MASTER_PORT"] = str(faults.free_port())
    both = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "asking.py"), parallel],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    for process in both:
        lines = process.communicate(timeout=300)[0].splitlines()
        answers = [line for line in lines if not line.startswith("[Gloo]")]  # which torch 2.10 says of itself
        assert answers == [
            "None",
            "None",
            "the output of blocks.1.mlp",
            "the gradient of the output of head",
            "the output of stem",
        ]


def said_once(text: str) -> str:
    """The only sentence of an error."""
    (line,) = (line for line in text.splitlines() if line.startswith("mvit: "))
    return line


def test_one_speaks_and_writes_for_all(two: tuple[Path, str]):
    run, said = two
    lines = said.splitlines()
    assert lines.count("2 processes, 4 clips of a step and a copy of the model (ddp) on each") == 1
    assert sum(line.startswith("epoch 1/3") for line in lines) == 1
    assert sum(line.startswith("Wrote ") for line in lines) == 1
    assert "Warning" not in said
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["processes"] == 2
    assert [line["step"] for line in timeless(run)] == [3, 6, 9]
    assert not [path for path in run.iterdir() if path.name == "lock"]


def test_every_video_is_evaluated_once(two: tuple[Path, str], videos: Path):
    with (two[0] / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["path"] for row in csv.DictReader(file)]
    assert rows == sorted(map(str, (videos / "val").rglob("*.mp4"))), "three videos: two ranks have not the same number"
    assert json.loads((two[0] / "result.json").read_text(encoding="utf-8"))["videos"] == 3


def test_two_processes_learn_what_one_does(train: Any, tmp_path: Path):
    """The same clips in the same steps, also in pieces; only sums are taken in another order.

    AdamW makes a step of any gradient, also of a bias of keys, whose gradient is nothing but rounding.
    """
    for ranks in (1, 2):
        codes, said = train(tmp_path / str(ranks), ranks, *DETERMINED, f"train.accumulate={ranks}")
        assert codes == [0] * ranks, said
    one, other = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("1", "2"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=5e-4, msg=lambda text, n=name: f"{n}: {text}")
    for first, second in zip(timeless(tmp_path / "1"), timeless(tmp_path / "2"), strict=True):
        assert first.keys() == second.keys()
        assert list(second.values()) == pytest.approx(list(first.values()), rel=1e-4)


def test_a_model_in_shards_is_not_compiled(train: Any, tmp_path: Path):
    codes, said = train(tmp_path / "run", 2, "train.compile=true", "train.parallel=fsdp")
    assert codes == [2, 2]
    assert "train.compile has not been tried on a model in shards" in said_once(said)


@pytest.mark.slow  # minutes, for two compilers
@pytest.mark.timeout(1800)
def test_compiled_copies_learn_what_plain_ones_do(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(faults, "LIMIT_SECONDS", 1500.0)
    for compiled in ("true", "false"):
        codes, said = train(tmp_path / compiled, 2, *DETERMINED, f"train.compile={compiled}")
        assert codes == [0, 0], said
    one, other = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("true", "false"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=5e-4, msg=lambda text, n=name: f"{n}: {text}")
    for first, second in zip(timeless(tmp_path / "true"), timeless(tmp_path / "false"), strict=True):
        assert list(second.values()) == pytest.approx(list(first.values()), rel=1e-3)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_killed_rank_costs_nothing(two: tuple[Path, str], train: Any, tmp_path: Path, parallel: str):
    """Killed in the second step of the second epoch; it goes on as if nothing had been, with the other way too."""
    run, how = tmp_path / "run", f"train.parallel={parallel}"
    codes, said = train(run, 2, how, fault=Fault(rank=1, step=5))
    assert codes == [2, -9]
    assert "rank 1, process " in said_once(said)
    assert len(timeless(run)) == 1
    codes, said = train(run, 2, how, "--resume")
    assert codes == [0, 0], said
    if parallel == "ddp":
        assert faults.digests(run) == faults.digests(two[0])
        return
    undisturbed = tmp_path / "undisturbed"
    assert train(undisturbed, 2, how)[0] == [0, 0]
    assert faults.digests(run) == faults.digests(undisturbed)
    one, other = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (run, two[0]))
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=5e-4) for name in other), "as copies learn"


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "parallel"), [(1, "ddp"), (2, "ddp"), (2, "fsdp"), (3, "ddp"), (3, "fsdp")])
@pytest.mark.parametrize("victim", ["rank", "decoder"])
def test_killed_processes_cost_nothing(videos: Path, tmp_path: Path, ranks: int, parallel: str, victim: Any):
    batch = ("train.batch=6",) if ranks == 3 else ()
    expected = faults.undisturbed(videos, tmp_path / "undisturbed", ranks, parallel, batch)
    for step in (2, 6):
        folder = tmp_path / str(step)
        folder.mkdir()
        found = faults.survives(videos, folder, ranks, parallel, Fault(step % ranks, step, victim), batch)
        assert found["codes_going_on"] == [0] * ranks
        assert faults.digests(found["run"]) == expected


@pytest.mark.slow
def test_a_hanging_rank_is_named_when_patience_ends(two: tuple[Path, str], train: Any, tmp_path: Path):
    run = tmp_path / "run"
    codes, said = train(run, 2, fault=Fault(rank=1, step=5, victim="hanging", patience_seconds=20.0))
    assert codes == [2, -9]
    assert "rank 1, process " in said_once(said)
    assert train(run, 2, "--resume")[0] == [0, 0]
    assert faults.digests(run) == faults.digests(two[0])


def test_a_run_goes_on_with_another_number_of_processes_and_says_so(two: tuple[Path, str], train: Any, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(two[0], run)
    shutil.rmtree(max((run / "checkpoints").iterdir()))
    codes, said = train(run, 1, "--resume")
    assert codes == [0], said
    assert "note: since the run began, this has changed: processes 2 -> 1;" in said
    assert "going on in epoch 3, of which 0 of 3 steps are done" in said
    assert timeless(run)[:2] == timeless(two[0])[:2]


def test_what_is_wrong_for_all_is_said_once(two: tuple[Path, str], train: Any, tmp_path: Path):
    codes, said = train(two[0], 2)
    assert codes == [2, 2]
    assert "exists already" in said_once(said)
    codes, said = train(tmp_path / "run", 3)
    assert codes == [2, 2, 2]
    assert "cannot be divided equally among 3 ranks" in said_once(said)
    assert not (tmp_path / "run").exists()


def test_a_video_that_is_spoilt_meanwhile_is_named_once_and_left_out(
    train: Any, tmp_path: Path, videos: Path, two: tuple[Path, str]
):
    data, run = tmp_path / "videos", tmp_path / "run"
    shutil.copytree(videos, data)
    lenient = ("train.max_bad=0.5", "train.accumulate=4")
    codes, _ = train(run, 2, *lenient, data=data, fault=Fault(rank=0, step=4))
    assert codes == [-9, 2]
    bad = data / "train" / "dark" / "3.mp4"
    bad.write_bytes(b"\0" * bad.stat().st_size)
    codes, said = train(run, 2, *lenient, "--resume", data=data)
    assert codes == [0, 0], said
    assert said.count(f"left out: {bad} cannot be read") == 1
    assert (run / "unreadable.csv").read_text(encoding="utf-8").count(str(bad)) == 1
    assert len(timeless(run)) == 3
