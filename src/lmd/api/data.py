"""The Python interface to data sets: made, read, looked through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.errors import SettingsError
from lmd.parallel import Steps, quiet

if TYPE_CHECKING:
    from lmd.data.audit.results import Fingerprint
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset


def prepare(source: str, out: Path | str, *, progress: Steps = quiet, **options: Any) -> Dataset | Folds:
    """Makes a dataset folder and returns it; with `folds` or `repeats` it makes a folder of several.

    Args:
        source: where the images come from; `lmd sources` lists the names, such as "folder" or "table".
        out: the folder to make; it must not exist, or be empty.
        progress: called with the images read so far and all of them.
        options: the source's own options, such as `root="images"`, `split="lesion"` or `seed=42`.

    Raises:
        SettingsError: no such source or option.
        DataError: an image, a table or the output folder cannot be used; the message names it.
    """
    from lmd.data.dataset import folds_folder, sources
    from lmd.fields import read_options

    module, out = sources.load(source), Path(out)
    made = module.prepare(read_options(module.Options, options, f"source '{source}'"), out, progress)
    return folds_folder.read_folds(out, check_files=False) if folds_folder.is_folds(out) else made


def read_dataset(folder: Path | str, *, check_files: bool = True) -> Dataset | Folds:
    """Returns a dataset folder, or a folder of folds, after checking all of it.

    Raises:
        DataError: what is wrong; with `check_files=False` images may be missing.
    """
    from lmd.data.dataset import folds_folder, manifest

    folder = Path(folder)
    if folds_folder.is_folds(folder):
        return folds_folder.read_folds(folder, check_files)
    return manifest.read_dataset(folder, check_files)


def inspect(
    data: Dataset | Folds | Path | str, *, near: int = 36, look: bool = True, progress: Steps = quiet
) -> Fingerprint | dict[str, Fingerprint]:
    """Returns what to know of a data set before training: counts, leaks, copies, damaged files.

    Args:
        data: a dataset folder; of a folder of folds each has its answer, by name.
        near: bits of 256 in which two images may differ and count as near duplicates, 0 to 64.
        look: without it no image file is opened.
        progress: called with the images read so far and all of them.
    """
    from lmd.folds.inspect import inspect_either

    if not 0 <= near <= 64:
        raise SettingsError(f"near = {near} must be from 0 to 64 bits")
    return inspect_either(dataset_of(data, check_files=False), progress, near, look)


def dataset_of(data: Dataset | Folds | Path | str, *, check_files: bool = True) -> Dataset | Folds:
    """Returns a data set, which may be given as its folder."""
    return read_dataset(data, check_files=check_files) if isinstance(data, str | Path) else data
