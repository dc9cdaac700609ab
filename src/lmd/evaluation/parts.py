"""What an evaluation is made of: a metric with its interval, a frequency band, a class."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from lmd.settings import Settings, Tree


class Estimate(Settings):
    """A metric with its interval; None where it is undefined.

    >>> print(Estimate(value=0.5, low=0.25, high=0.75))
    0.500 [0.250, 0.750]
    >>> print(Estimate(value=None, low=None, high=None))
    undefined
    """

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """The value and its interval with three decimals, or "undefined"."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def _renamed(tree: Any) -> Any:
    """Values by metric, of a file in which quadratic kappa is still called kappa."""
    if not isinstance(tree, dict) or "kappa" not in tree:
        return tree
    return {"kappa_quadratic" if name == "kappa" else name: value for name, value in tree.items()}


# By the names of `evaluation.metrics.MACRO`: values, and why one is undefined or has no interval.
Metrics = Annotated[dict[str, Estimate], BeforeValidator(_renamed)]
Reasons = Annotated[dict[str, str], BeforeValidator(_renamed)]


class BandResult(Settings):
    """A frequency band (head, medium or tail): its classes, their images, and means over them."""

    n: int
    """images of the band's classes in the split"""
    classes: list[str]
    recall: Estimate
    precision: Estimate
    f1: Estimate
    auc: Estimate


_NEWER = ("specificity", "ppv", "npv")  # What files of earlier versions lack of a class.


class ClassResult(Settings):
    """One class against the rest; None where it has no image in the split.

    In JSON the recall takes three fields: `recall`, `recall_low` and `recall_high`. Files of earlier versions
    lack specificity, PPV and NPV.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: str
    n: int
    """images of the class in the split"""
    band: str | None = Field(alias="group")  # The name in JSON.
    recall: Estimate
    """also called sensitivity"""
    precision: float | None
    f1: float | None
    auc: float | None
    specificity: float | None = None
    """share of the other classes' images that are not taken for this class"""
    ppv: float | None = None
    """positive predictive value: share of the images taken for this class that are of it; the precision,
    but undefined where no image is taken for the class"""
    npv: float | None = None
    """negative predictive value: share of the images taken for other classes that are of other classes"""

    @model_validator(mode="before")
    @classmethod
    def _gather_recall(cls, tree: Any) -> Any:
        parts = ("recall", "recall_low", "recall_high")
        if not isinstance(tree, dict) or not all(part in tree for part in parts):
            return tree
        flat: Tree = {**tree}
        recall = {"value": flat["recall"], "low": flat.pop("recall_low"), "high": flat.pop("recall_high")}
        return {**flat, "recall": recall}

    @model_serializer
    def _spread_recall(self) -> Tree:
        newer = {name: getattr(self, name) for name in _NEWER if name in self.model_fields_set}
        return {
            "name": self.name,
            "n": self.n,
            "group": self.band,
            "recall": self.recall.value,
            "recall_low": self.recall.low,
            "recall_high": self.recall.high,
            "precision": self.precision,
            "f1": self.f1,
            "auc": self.auc,
            **newer,
        }
