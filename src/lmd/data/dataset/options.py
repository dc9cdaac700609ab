"""Options that several sources have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from lmd.data.dataset.longtail import FRACTIONS
from lmd.settings import Settings


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
    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """how many bits the 16-bit images use: 12 stretches 0-4095 to all 256 grey levels (default: 16)"""
    repeats: Annotated[int, Field(ge=1)] | None = None


class FoldOptions(RawOptions):
    """Options of a source that reads image files and can be divided into folds."""

    folds: Annotated[int, Field(ge=2)] | None = None


class ListedOptions(Settings):
    """Options of a source whose images are listed in tables, and may not all be there."""

    allow_missing: bool = False
    list_only: bool = False
