"""Options that several sources have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from lmd.data.dataset.longtail import FRACTIONS
from lmd.settings import Settings

Texts = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


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
        if not min(value) >= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError("train,val,test fractions must be 0 or more and add up to 1")
        return value


class RawOptions(SplitOptions):
    """Options of a source that reads image files; `frame` chooses one, from 1, of files that have several."""

    skip_bad: bool = False
    frame: Annotated[int, Field(ge=1)] | None = None
    repeats: Annotated[int, Field(ge=1)] | None = None
    exclude: Texts = ()
    """files and folders to leave out, as patterns such as "*_mask.png" or "thumbs"; repeatable"""


class FoldOptions(RawOptions):
    """Options of a source that reads image files and can be divided into folds."""

    folds: Annotated[int, Field(ge=2)] | None = None


class ListedOptions(Settings):
    """Options of a source whose images are listed in tables, and may not all be there."""

    allow_missing: bool = False
    list_only: bool = False
