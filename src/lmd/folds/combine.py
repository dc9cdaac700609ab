"""Evaluations of the repeats of one cross-validation as one: the mean of each number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from lmd.evaluation.leaks.overlap import overlap_words
from lmd.evaluation.results import Evaluation, Overlap
from lmd.settings import Settings


def mean_of(repeats: Sequence[Evaluation]) -> Evaluation:
    """Returns the mean over repeats of every number, with the mean of their intervals' limits.

    Each repeat measures the same images, so that repeats make a number steadier and bring no new patients:
    the interval does not shrink with their number. The confusion counts each image once for each repeat.
    """
    if len(repeats) == 1:
        return repeats[0]
    mean = cast("Evaluation", _mean([repeat.model_copy(update={"selective": None}) for repeat in repeats]))
    counted = np.sum([repeat.confusion for repeat in repeats], axis=0)
    method = f"{mean.interval.method}; limits: mean over {len(repeats)} repeats"
    interval = mean.interval.model_copy(update={"method": method})
    overlap = max((one.overlap for one in repeats), key=lambda found: found.images or 0 if found else -1)
    return mean.model_copy(update={"confusion": counted.tolist(), "interval": interval, "overlap": overlap})


def _mean(values: list[Any]) -> Any:
    """The mean of numbers, and of trees of them; None where one is None; the first of what is no number."""
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Settings):
        names = type(first).model_fields
        return first.model_copy(
            update={name: _mean([getattr(value, name) for value in values]) for name in names}
        )
    if isinstance(first, Mapping):
        names = dict.fromkeys(name for value in values for name in value)  # A reason may be of one alone.
        return {name: _mean([value[name] for value in values if name in value]) for name in names}
    if isinstance(first, list) and all(len(value) == len(first) for value in values):
        return [_mean(list(parts)) for parts in zip(*values, strict=True)]
    if isinstance(first, float):
        return float(np.mean(values))
    if isinstance(first, int) and not isinstance(first, bool):
        return round(float(np.mean(values)))
    return first


def overlap_of(parts: Sequence[Overlap | None]) -> Overlap | None:
    """Returns how much of the images of several folds had been seen by the fold that answered them."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    images, validation, groups = (
        _sum([getattr(part, name) for part in known]) for name in ("images", "validation", "groups")
    )
    of = sum(part.of for part in known)
    note = overlap_words(images, validation, of, groups)
    return Overlap(images=images, validation=validation, of=of, groups=groups, note=note)


def _sum(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
