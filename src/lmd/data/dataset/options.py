"""Options that several sources have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from lmd.data.dataset.longtail import FRACTIONS
from lmd.data.dataset.meaning.grouping import SimilarIds
from lmd.settings import Settings

Texts = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class SplitOptions(Settings):
    """How images are divided: by image, or keeping groups (lesions, patients) together."""

    split: Literal["image", "group", "lesion", "patient", "paper"] = "group"
    """what stays in one split: each image by itself, or all images of a group, lesion or patient"""
    fractions: tuple[float, float, float] = FRACTIONS
    """shares of training, validation and test; they add up to 1"""
    seed: Annotated[int, Field(ge=0)] = 42
    """seed of every random draw"""

    @field_validator("fractions", mode="before")
    @classmethod
    def _read_fractions(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        try:
            numbers = tuple(float(part) for part in parts)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != 3:
            raise ValueError("must be three numbers with commas between them, such as 0.7,0.1,0.2")
        return numbers

    @field_validator("fractions")
    @classmethod
    def _check_fractions(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not min(value) >= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError("train,val,test fractions must be 0 or more and add up to 1")
        return value


class RawOptions(SplitOptions):
    """Options of a source that reads image files; `frame` chooses one, from 1, of files that have several."""

    skip_bad: bool = False
    """leave out images and rows that cannot be used, and list them in skipped.csv"""
    frame: Annotated[int, Field(ge=1)] | None = None
    """which frame to use of files that hold several, counted from 1"""
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """how many bits the 16-bit images use: 12 stretches 0-4095 to all 256 grey levels (default: 16)"""
    repeats: Annotated[int, Field(ge=1)] | None = None
    """make so many dataset folders, OUT/repeat-1 and so on, each divided with the next seed"""
    exclude: Texts = ()
    """files and folders to leave out, as patterns such as "*_mask.png" or "thumbs" """


def _without_commas(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(","))


Names = Annotated[Texts, AfterValidator(_without_commas)]  # Texts with commas between names.


class FoldOptions(RawOptions):
    """Options of a source that reads image files and can be divided into folds."""

    folds: Annotated[int, Field(ge=2)] | None = None
    """make so many dataset folders for cross-validation, OUT/fold-1 and so on"""


class ColumnOptions(FoldOptions):
    """Options of a source whose images are described by named columns, of a table or of .json files."""

    split: Literal["image", "group", "lesion", "patient"] = "group"
    """images of one group, lesion or patient stay in one split; image divides image by image"""
    split_column: str | None = None
    """column that holds the split"""
    split_map: dict[str, str] = Field(default_factory=dict)
    """what words of the split column mean, as 0=train,1=test"""
    group_column: str | None = None
    """column whose images stay together, such as patients"""
    ignore_column: Texts = ()
    """column that is not looked at"""
    similar_ids: SimilarIds = "refuse"
    """ids that may be one person written differently ("p1", "P01"): refuse, merge or keep apart"""
    drop_label: Texts = ()
    """label whose images are left out, such as unknown"""


class ListedOptions(Settings):
    """Options of a source whose images are listed in tables, and may not all be there."""

    allow_missing: bool = False
    """go on with the images that are there"""
    list_only: bool = False
    """write a folder that can be counted but not trained on: the images need not be there"""
