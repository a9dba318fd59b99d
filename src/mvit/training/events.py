"""The metrics of a run for TensorBoard, which the extra ``logs`` installs: the same figures as in metrics.jsonl."""

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
Plot = Callable[[Mapping[str, Any]], None]


def require_tensorboard() -> None:
    """Raise ``ValueError`` where TensorBoard's package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "--tensorboard writes with the package tensorboard, which is not installed here: pip install 'mvit[logs]', "
            "or leave --tensorboard out (metrics.jsonl holds the same figures)"
        )


@contextmanager
def plotting(metrics: Path, first_step: int) -> Iterator[Plot]:
    """Gives what to call with each record that goes into ``metrics``; events go into a folder beside that file.

    A run that goes on has done ``first_step`` steps: what was drawn of later ones is taken back, since they are done
    again. Where nothing was drawn yet, it is drawn from the records that ``metrics`` holds.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = metrics.with_name(FOLDER)
    missed = not folder.is_dir() and metrics.is_file()
    with SummaryWriter(folder, purge_step=first_step + 1) as writer:

        def plot(record: Mapping[str, Any]) -> None:
            for name, value in record.items():
                if name not in ("epoch", "step") and value is not None:
                    writer.add_scalar(name, value, record["step"])
            writer.flush()

        for line in metrics.read_text(encoding="utf-8").splitlines() if missed else []:
            plot(json.loads(line))
        yield plot


@contextmanager
def not_plotting() -> Iterator[Plot]:
    """The same for a run that nobody wants to see there."""
    yield lambda record: None
