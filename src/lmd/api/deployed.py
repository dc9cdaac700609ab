"""The Python interface to a trained model that leaves its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmd.api.data import dataset_of
from lmd.api.runs import run_of
from lmd.parallel import Steps, quiet

if TYPE_CHECKING:
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset
    from lmd.deployment.export.about import Export
    from lmd.run import RunFolder


def export(
    run: RunFolder | Path | str,
    *,
    out: Path | str | None = None,
    format: str = "onnx",
    fp16: bool = False,
    int8: bool = False,
    images: Sequence[Path | str] | Path | str = (),
    data: Dataset | Folds | Path | str | None = None,
    split: str = "test",
    progress: Steps = quiet,
) -> Export:
    """Writes the model of a run into a folder that works without lmd, and returns what export.json says.

    The export is verified against the network before the folder is there. A folds run becomes one model, the
    mean of its folds' probabilities.

    Args:
        run: a finished run, or a folds run.
        out: the folder to make (default: export-<format> in the run folder).
        format: "onnx", "torch" (a program of torch.export) or "monai" (a bundle).
        fp16: with "onnx", a second file with the encoder in fp16, and what it loses.
        int8: with "onnx", a second file in 8-bit numbers, and what it loses.
        images: image files or folders to verify on, in place of images of the data set.
        data: another dataset folder than the run's own.
        split: the split on which the loss of the smaller files is measured.
        progress: called with the images answered so far and all of them.

    Raises:
        CheckpointError: the run has no finished model, or the export does not agree with its network.
        DataError: the folder is in use, or images cannot be had.
        SettingsError: there is no such format, the encoder cannot be exported, or a package is missing.
    """
    from lmd.deployment.export.asked import Asked
    from lmd.deployment.export.run import export_run

    named = [images] if isinstance(images, Path | str) else images
    asked = Asked(format, fp16, int8, [Path(path) for path in named], split)
    dataset = None if data is None else dataset_of(data)
    folder = run_of(run)
    return export_run(folder, asked.place(folder.path, out), asked, dataset, progress)
