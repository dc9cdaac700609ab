"""What the sources share: options, the choice of a split, bad images, and the finished folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from lmd.data.images import Progress, verify
from lmd.data.longtail import FRACTIONS, head_medium_tail, split_by_group, split_by_image
from lmd.data.manifest import SPLITS, Dataset, DatasetInfo, refuse_used, with_splits, write_dataset
from lmd.errors import DataError
from lmd.settings import Settings


class SplitOptions(Settings):
    """How images are divided: by image, or keeping groups (lesions, patients) together."""

    split: Literal["image", "group", "lesion", "patient"] = "group"
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
    """Options of a source that reads image files."""

    root: Path
    skip_bad: bool = False


def choose_splits(table: pd.DataFrame, options: SplitOptions) -> np.ndarray:
    """Returns the split of each row of a table with `label` and `group`."""
    labels = table["label"].to_numpy()
    if options.split == "image":
        return split_by_image(labels, options.fractions, options.seed)
    return split_by_group(labels, table["group"].to_numpy(), options.fractions, options.seed)


def with_chosen_splits(table: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Returns a table with its split column: as given where there is one, else as the options say."""
    return table if "split" in table.columns else with_splits(table, choose_splits(table, options))


def without_bad_images(
    table: pd.DataFrame, root: Path, options: RawOptions, progress: Progress
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Decodes every image; returns the table of the good ones, and the bad ones with reasons.

    Raises:
        DataError: an image cannot be read and `skip_bad` was not given.
    """
    paths = [root / file for file in table["file"]]
    reasons = verify(paths, progress)
    if reasons and not options.skip_bad:
        first = next(iter(reasons.values()))
        raise DataError(f"{first} ({len(reasons)} such images; leave them out with --skip-bad)")
    good = np.array([path not in reasons for path in paths], dtype=bool)
    bad = {file: reasons[root / file] for file in table["file"][~good]}
    return table[good].reset_index(drop=True), bad


def finish(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    recipe: dict[str, Any],
    fill: Callable[[Path], None] | None = None,
    **about: Any,
) -> Dataset:
    """Groups the classes of a table that has its splits, and writes the dataset folder."""
    trained = table["label"][table["split"] == SPLITS[0]].value_counts()
    counts = np.array([int(trained.get(name, 0)) for name in classes])
    groups, rule = head_medium_tail(classes, counts)
    info = DatasetInfo(classes=classes, groups=groups, groups_rule=rule, recipe=recipe, **about)
    return write_dataset(out, with_splits(table, table["split"].to_numpy()), info, fill)


def finish_raw(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    options: RawOptions,
    skipped: dict[str, str],
    recipe: dict[str, Any] | None = None,
    **about: Any,
) -> Dataset:
    """Splits a table of image files where it has no splits, and writes the folder with `skipped.csv`."""
    given = {"splits": "as given"} if "split" in table.columns else {}
    told = options.model_dump(mode="json", exclude={"root"})
    recipe = {**told, **(recipe or {}), **given, "skipped": len(skipped)}
    bad = pd.DataFrame(skipped.items(), columns=["file", "reason"])

    def fill(folder: Path) -> None:
        if skipped:
            bad.to_csv(folder / "skipped.csv", index=False)

    return finish(out, with_chosen_splits(table, options), classes, recipe, fill, **about)


def existing_folder(path: Path, what: str) -> Path:
    """Returns a folder that must exist.

    Raises:
        DataError: it does not.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path} ({what})")
    return path.resolve()


__all__ = [
    "RawOptions",
    "SplitOptions",
    "choose_splits",
    "existing_folder",
    "finish",
    "finish_raw",
    "refuse_used",
    "with_chosen_splits",
    "without_bad_images",
]
