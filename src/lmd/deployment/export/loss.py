"""What a smaller variant of an export loses: its accuracy by frequency band beside that of the export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.loader import image_set
from lmd.deployment.export.agreement import Answers
from lmd.deployment.export.onnx_file import Answering
from lmd.errors import CheckpointError, DataError
from lmd.evaluation.cases import Cases, cases_of, compare, measure
from lmd.evaluation.parts import Estimate
from lmd.evaluation.predict import Model, names_of, pixels_for
from lmd.parallel import Steps, quiet
from lmd.settings import Settings

_BATCH = 64
BALANCED = "bacc"


class Value(Settings):
    """A metric of the export and of its variant, and their paired difference."""

    export: float | None
    variant: float | None
    difference: Estimate
    """variant less export, with its 95% interval"""


class Loss(Settings):
    """What a variant loses on the images of a split."""

    images: str
    n: int
    metrics: dict[str, Value]
    """balanced accuracy, and the recall of each frequency band by its name"""
    other_decisions: int
    """images for which the two decide otherwise"""
    largest: float
    """largest difference of a probability"""
    bytes: int

    def line(self, name: str) -> str:
        """Returns it in words."""
        parts = [f"{_WORDS.get(key, key + ' recall')} {signed(one)}" for key, one in self.metrics.items()]
        return f"{name}: {self.bytes / 1e6:.1f} MB; {', '.join(parts)} on {self.n:,} {self.images}"


_WORDS = {BALANCED: "balanced accuracy"}


def signed(value: Value) -> str:
    """Returns the difference of a metric, with its sign and its interval."""
    found = value.difference
    if found.value is None:
        return "undefined"
    ends = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.value:+.3f}{ends}"


class Labelled:
    """Images of a split with their labels, and what answered them first."""

    def __init__(self, model: Model, dataset: Dataset, split: str, told: str) -> None:
        """Decodes the images, once for all that is measured on them."""
        self.classes, self.told, self.dataset = model.classes, told, dataset
        self.bands: Mapping[str, Sequence[str]] = model.card.bands
        self.pixels = image_set(dataset, split, pixels_for(model, dataset, split)).pixels
        self.names = names_of(dataset, split)

    def answers(self, answer: Answering, progress: Steps = quiet) -> Answers:
        """Returns p and d of all images.

        Raises:
            CheckpointError: an answer is no probability.
        """
        found: list[Answers] = []
        for start in range(0, len(self.pixels), _BATCH):
            found.append(answer(self.pixels[start : start + _BATCH]))
            progress(min(start + _BATCH, len(self.pixels)), len(self.pixels))
        p, d = (np.concatenate([pair[place] for pair in found]) for place in (0, 1))
        if not all(np.isfinite(one).all() for one in (p, d)):
            raise CheckpointError("a variant gives answers that are no numbers: leave it out")
        return p, d

    def loss(self, export: Answers, variant: Answers, size: int) -> Loss:
        """Returns what a variant of so many bytes loses beside the export."""
        first, second = self._cases(export), self._cases(variant)
        bands = {name: list(some) for name, some in self.bands.items()}
        gaps = compare(second, first, self.classes, bands)
        mine, theirs = (measure(one, self.classes, bands) for one in (first, second))
        shown = [BALANCED, *bands]
        return Loss(
            images=self.told,
            n=len(self.names),
            metrics={
                name: Value(
                    export=mine[name].estimate().value,
                    variant=theirs[name].estimate().value,
                    difference=gaps[name],
                )
                for name in shown
            },
            other_decisions=int((export[1].argmax(1) != variant[1].argmax(1)).sum()),
            largest=float(max(np.abs(a - b).max() for a, b in zip(export, variant, strict=True))),
            bytes=size,
        )

    def _cases(self, answers: Answers) -> Cases:
        p, d = (one.astype(np.float64) for one in answers)
        shares = pd.DataFrame(p / p.sum(1, keepdims=True), columns=[f"p_{name}" for name in self.classes])
        decided = pd.Series(np.array(self.classes)[d.argmax(1)], name="predicted")
        return cases_of(pd.concat([self.names, decided, shares], axis=1), self.classes)


def labelled(model: Model, dataset: Dataset | None, why: str | None, split: str, told: str) -> Labelled:
    """Returns the images that the loss of a variant is measured on.

    Raises:
        DataError: there are none.
    """
    if dataset is None:
        raise DataError(
            f"--int8 and --fp16 need labelled images, on which their loss is measured: name a dataset folder "
            f"with --data DIR ({why})"
        )
    return Labelled(model, dataset, split, told)
