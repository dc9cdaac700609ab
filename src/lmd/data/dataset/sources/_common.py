"""What the sources share: options, files, bad images, and the finished dataset folders."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from lmd.data.dataset.longtail import FRACTIONS, head_medium_tail
from lmd.data.dataset.manifest import (
    SPLITS,
    Dataset,
    DatasetInfo,
    leakage,
    refuse_used,
    with_splits,
    write_dataset,
)
from lmd.data.dataset.sources._folds import Part, divided, parts, write_parts
from lmd.data.dataset.sources._tables import hashes
from lmd.data.decode.images import list_images, verify
from lmd.errors import DataError
from lmd.parallel import Progress
from lmd.settings import Settings, Tree

_log = logging.getLogger(__name__)

Skipped = list[tuple[str, str]]  # A file and why it was left out.
Arrange = Callable[[Part], tuple[pd.DataFrame, Tree]]
Banding = Callable[[list[str], np.ndarray], tuple[dict[str, list[str]], str]]


class SplitOptions(Settings):
    """How images are divided: by image, or keeping groups (lesions, patients) together."""

    split: Literal["image", "group", "lesion", "patient", "paper"] = "group"
    fractions: tuple[float, float, float] = FRACTIONS
    seed: Annotated[int, Field(ge=0)] = 42

    @field_validator("fractions", mode="before")
    @classmethod
    def _read_fractions(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) < 0 or value[0] <= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError("train,val,test fractions must be positive and add up to 1")
        return value


class RawOptions(SplitOptions):
    """Options of a source that reads image files; `frame` chooses one, from 1, of files that have several."""

    skip_bad: bool = False
    frame: Annotated[int, Field(ge=1)] | None = None
    repeats: Annotated[int, Field(ge=1)] | None = None


class FoldOptions(RawOptions):
    """... and can be divided into folds."""

    folds: Annotated[int, Field(ge=2)] | None = None


class ListedOptions(Settings):
    """Options of a source whose images are listed in tables, and may not all be there."""

    allow_missing: bool = False
    list_only: bool = False


def without_bad_images(
    table: pd.DataFrame, root: Path, options: RawOptions, progress: Progress
) -> tuple[pd.DataFrame, Skipped]:
    """Decodes every image; returns the table of the good ones, and the bad ones with reasons.

    Raises:
        DataError: an image cannot be read and the option `skip_bad` was not given.
    """
    paths = [root / file for file in table["file"]]
    reasons = verify(paths, progress, options.frame)
    if reasons and not options.skip_bad:
        first = next(iter(reasons.values()))
        raise DataError(f"{first} ({len(reasons)} such images; leave them out with --skip-bad)")
    good = np.array([path not in reasons for path in paths], dtype=bool)
    bad = [(file, reasons[root / file]) for file in table["file"][~good]]
    return table[good].reset_index(drop=True), bad


def located(table: pd.DataFrame, root: Path, allow_missing: bool) -> tuple[pd.DataFrame, int]:
    """Gives each image the file of its name below `root`, whatever its folder, extension and case.

    Returns the table of the images that are there, and how many are not.

    Raises:
        DataError: images are missing and may not be, or one is there twice.
    """
    found = _files_by_stem(root)
    files = [found.get(_stem(file), []) for file in table["file"]]
    double = next((places for places in files if len(places) > 1), None)
    if double is not None:
        raise DataError(f"an image is in {root} twice: {double[0]} and {double[1]}")
    there = np.array([bool(places) for places in files], dtype=bool)
    missing = table["id"][~there]
    if len(missing) and not allow_missing:
        raise DataError(
            f"{len(missing)} of {len(table)} images are missing in {root} (first: {missing.iloc[0]}); "
            "go on without them with --allow-missing"
        )
    if len(missing):
        _log.warning("%d of %d images are missing and left out", len(missing), len(table))
    kept = table[there].assign(file=[places[0] for places in files if places])
    return kept.reset_index(drop=True), len(missing)


def _files_by_stem(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in list_images(root):
        file = path.relative_to(root).as_posix()
        found.setdefault(_stem(file), []).append(file)
    return found


def _stem(file: str) -> str:
    return PurePosixPath(file).stem.casefold()


def usable(
    table: pd.DataFrame, root: Path | None, options: Any, progress: Progress
) -> tuple[pd.DataFrame, Skipped, Tree]:
    """Returns the images to list: all with `list_only`, else those that are there and can be decoded.

    Also returns those left out as bad, and what the recipe says of the missing.
    """
    if options.list_only:
        return table, [], {}
    if root is None:
        raise DataError("where are the images? name their folder with --root, or go without with --list-only")
    there, missing = located(table, existing_folder(root, "the images"), options.allow_missing)
    good, bad = without_bad_images(there, root, options, progress)
    return good, bad, {"missing_images": missing}


def refuse_twins(names: Iterable[str], what: str) -> None:
    """Refuses names that a reader takes for one: they differ only by case, or in how Unicode spells them.

    Raises:
        DataError: two such names, both named.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        other = seen.setdefault(unicodedata.normalize("NFKC", name).strip().casefold(), name)
        if other != name:
            raise DataError(f"{what} '{other}' and '{name}' differ only by case or spelling; make them one")


def finish(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    recipe: Tree,
    fill: Callable[[Path], None] | None = None,
    banding: Banding = head_medium_tail,
    **about: Any,
) -> Dataset:
    """Puts the classes of a table that has its splits into frequency bands, and writes the dataset folder."""
    trained = table["label"][table["split"] == SPLITS[0]].value_counts()
    counts = np.array([int(trained.get(name, 0)) for name in classes])
    bands, rule = banding(classes, counts)
    found = leakage(table)
    recipe = {**recipe, **({"leakage": found.model_dump()} if found.groups else {})}
    info = DatasetInfo(classes=classes, bands=bands, bands_rule=rule, recipe=recipe, **about)
    dataset = write_dataset(out, with_splits(table, table["split"].to_numpy()), info, fill)
    if found.groups:
        _log.warning(
            "%d of %d test images show one of the %d lesions or patients that training images show too",
            found.test_images,
            found.of_test_images,
            found.groups,
        )
    return dataset


def finish_raw(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    options: RawOptions,
    skipped: Skipped,
    recipe: Tree | None = None,
    folds: int | None = None,
    arrange: Arrange | None = None,
    tables: Iterable[Path] = (),
    **about: Any,
) -> Dataset:
    """Divides a table of usable images where it is not, and writes one dataset folder or one for each fold.

    `arrange` gives the rows of a part with their splits, out of which those of `table` are taken, and what
    the recipe has to say of them; without it `table` itself is divided as the options say.
    """
    if table.empty:
        raise DataError(f"no usable image is left ({len(skipped)} were skipped)")
    _refuse_given_splits(table, options, folds)
    wanted = parts(options.seed, folds, options.repeats)
    told = _told(options, table, recipe, len(skipped))
    about["tables_sha256"] = hashes(tables)

    def default(part: Part) -> tuple[pd.DataFrame, Tree]:
        return divided(table, options.split == "image", options.fractions, folds, part), {}

    def write(folder: Path, part: Part) -> Dataset:
        rows, notes = (arrange or default)(part)
        rows = _only(rows, table)
        return finish(folder, rows, classes, {**told, **part.told(), **notes}, _lister(skipped), **about)

    return write_parts(out, wanted, write)


def _refuse_given_splits(table: pd.DataFrame, options: RawOptions, folds: int | None) -> None:
    if "split" in table.columns and (folds is not None or options.repeats is not None):
        raise DataError("the images come with their splits: --folds and --repeats are for images without")


def _told(options: RawOptions, table: pd.DataFrame, recipe: Tree | None, skipped: int) -> Tree:
    """All options but the folder of the images, what the source adds, and what became of bad images."""
    given = {"splits": "as given"} if "split" in table.columns else {}
    told = options.model_dump(mode="json", exclude={"root"}, exclude_none=True)
    return {**told, **(recipe or {}), **given, "skipped": skipped}


def _only(rows: pd.DataFrame, usable: pd.DataFrame) -> pd.DataFrame:
    """The rows whose image is usable, with the file that was found for it."""
    files = dict(zip(usable["id"], usable["file"], strict=True))
    kept = cast("pd.DataFrame", rows[rows["id"].isin(usable["id"])])
    return kept.assign(file=kept["id"].map(files)).reset_index(drop=True)


def _lister(skipped: Skipped) -> Callable[[Path], None]:
    """Writes skipped.csv into a dataset folder, where anything was skipped."""
    bad = pd.DataFrame(skipped, columns=["file", "reason"])

    def fill(folder: Path) -> None:
        if skipped:
            bad.to_csv(folder / "skipped.csv", index=False, errors="backslashreplace")

    return fill


def existing_folder(path: Path, what: str) -> Path:
    """Returns a folder that must exist.

    Raises:
        DataError: it does not.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path} ({what})")
    return path.resolve()


__all__ = [
    "FoldOptions",
    "ListedOptions",
    "RawOptions",
    "SplitOptions",
    "existing_folder",
    "finish",
    "finish_raw",
    "refuse_twins",
    "refuse_used",
    "usable",
    "without_bad_images",
]
