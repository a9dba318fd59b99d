"""The metrics of a run for TensorBoard, which the extra ``logs`` installs: the same figures as in metrics.jsonl."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Raise ``ValueError`` where TensorBoard's package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "--tensorboard writes with the package tensorboard, which is not installed here: pip install 'mvit[logs]', "
            "or leave --tensorboard out (metrics.jsonl holds the same figures)"
        )


@dataclass
class Plot:
    """Draws the records that go into metrics.jsonl; nowhere without a writer of TensorBoard's."""

    writer: Any = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Draw a record by its step."""
        if self.writer is None:
            return
        for name, value in record.items():
            if name not in ("epoch", "step") and value is not None:
                self.writer.add_scalar(name, value, record["step"])
        self.writer.flush()

    def forget_after(self, step: int) -> None:
        """Take back what was drawn of later steps, as they are done again."""
        if self.writer is not None:
            self.writer.close()
            self.writer = type(self.writer)(self.writer.log_dir, purge_step=step + 1)
            self.writer.flush()


@contextmanager
def plotting(metrics: Path, first_step: int) -> Iterator[Plot]:
    """Gives what draws the records that go into ``metrics``; events go into a folder beside that file.

    A run that goes on has done ``first_step`` steps: what was drawn of later ones is taken back, since they are done
    again. Where nothing was drawn yet, it is drawn from the records that ``metrics`` holds.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = metrics.with_name(FOLDER)
    missed = not folder.is_dir() and metrics.is_file()
    plot = Plot(SummaryWriter(folder, purge_step=first_step + 1))
    try:
        for line in metrics.read_text(encoding="utf-8").splitlines() if missed else []:
            plot.add(json.loads(line))
        yield plot
    finally:
        plot.writer.close()
