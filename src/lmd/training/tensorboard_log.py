"""A log for TensorBoard: event files in the run folder."""

from __future__ import annotations

from typing import Any

from lmd.run import RunFolder
from lmd.settings import Tree


class TensorBoardLog:
    """Event files in RUN/tensorboard, made anew from the history when a run goes on: no point comes twice."""

    def __init__(self, run: RunFolder) -> None:
        """Opens nothing yet."""
        self.folder = run.path / "tensorboard"

    def begin(self, settings: Tree) -> None:
        """Removes the event files of an interrupted run, and writes the settings."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        for file in self.folder.glob("events.out.tfevents.*"):
            file.unlink()
        writer: Any = SummaryWriter(str(self.folder))
        plain = {
            name: value if isinstance(value, int | float) else str(value) for name, value in settings.items()
        }
        for summary in hparams(plain, {}):
            writer.file_writer.add_summary(summary)
        self.writer = writer

    def write(self, points: dict[str, float], epoch: int) -> None:
        """Writes the points of an epoch."""
        for name, value in points.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self, finished: bool) -> None:
        """Closes the file."""
        self.writer.close()
