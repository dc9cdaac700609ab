"""Tables 4 and 5 and figures 3, 6 and 7 of arXiv 2502.03238: one setting of LMD varied, all else equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmd.experiments.base import Axis, Contrast, Experiment, Metric, Row, in_every_budget
from lmd.experiments.blocks import HYPER_KVASIR, ISIC_2019_LT_500, ISIC_ARCHIVE_LT
from lmd.experiments.paper import load
from lmd.experiments.tables import BANDS, SD_NOTE

if TYPE_CHECKING:
    from lmd.settings import Tree

_METRICS = (Metric("bacc", "BACC"), Metric("auc", "AUC"), Metric("f1", "F1"))


@dataclass(frozen=True)
class Sweep:
    """One setting of LMD over several values; the budget's own value is always among them.

    `printed` gives the name of the paper's row for a value, where a table has one.
    """

    setting: str
    symbol: str
    values: Mapping[str, tuple[float, ...]]  # By budget; "paper" is for those that are not named.
    more: Tree = field(default_factory=dict[str, Any])
    printed: Mapping[float, str] = field(default_factory=dict[float, str])

    def rows(self, budget: str) -> tuple[Row, ...]:
        """Returns one row for each value, the budget's own marked as the reference."""
        own = self._own(budget)
        values = sorted({*self.values.get(budget, self.values["paper"]), own})
        return tuple(self._row(value, value == own) for value in values)

    def _own(self, budget: str) -> float:
        from lmd import methods  # Here and below: `lmd paper` reads the definitions and needs no torch.
        from lmd.fields import leaf_values

        own = dict(leaf_values(methods.budget(methods.load("lmd"), budget)))
        default = dict(leaf_values(methods.settings_of("lmd").model_dump()))
        return own.get(self.setting, default[self.setting])

    def _row(self, value: float, reference: bool) -> Row:
        from lmd.settings import merge

        text, printed = f"{value:g}", self.printed.get(value, "")
        return Row(
            text,
            f"{self.symbol} = {text}",
            "lmd",
            merge(_nested(self.setting, value), self.more),
            kind="paper" if printed else "value",
            place=float(value),
            reference=reference,
            printed=printed,
        )


def _nested(name: str, value: Any) -> Tree:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


_LAMBDAS = {float(name): name for name in load("table4").row_names}

TABLE4 = Experiment(
    name="table4",
    rows_of=Sweep(
        "e_step.distribution_weight", "lambda_e", {"paper": tuple(_LAMBDAS)}, printed=_LAMBDAS
    ).rows,
    metrics=(
        Metric("auc", "AUC"),
        Metric("bacc", "BACC"),
        Metric("f1", "F1"),
        Metric("kappa_quadratic", "kappa"),
        Metric("precision", "precision"),
    ),
    blocks=HYPER_KVASIR,
    axis=Axis("lambda_e"),
    notes=("kappa is quadratic, as in the paper; on nominal classes it depends on their order.",),
)

# By the number of the paper's row: the sampling of the E-step, and of the statistics behind the M-step.
_SAMPLING = {
    "1": ("uniform", "uniform"),
    "2": ("balanced", "uniform"),
    "3": ("balanced", "balanced"),
    "4": ("uniform", "balanced"),
}

TABLE5 = Experiment(
    name="table5",
    rows_of=in_every_budget(
        *(
            Row(
                f"{e_step}-{m_step}",
                load("table5").rows[number],
                "lmd",
                {"e_step": {"sampling": e_step}, "statistics": {"sampling": m_step}},
                reference=number == "4",
                printed=number,
            )
            for number, (e_step, m_step) in _SAMPLING.items()
        )
    ),
    metrics=BANDS,
    blocks=ISIC_ARCHIVE_LT,
    contrasts=(
        Contrast(
            "balanced in place of uniform sampling in M, E uniform", "uniform-balanced", "uniform-uniform"
        ),
        Contrast(
            "balanced in place of uniform sampling in E, M balanced", "balanced-balanced", "uniform-balanced"
        ),
    ),
    notes=(
        SD_NOTE,
        "Sampling in M decides which images the class statistics come from (statistics.sampling: a "
        "class-balanced draw with replacement, or each image once); the virtual features are as many for "
        "each class in all four rows.",
    ),
)

_FEW_R = (100, 1000, 10_000, 50_000)
_FIG3 = Sweep(
    "m_step.virtual_per_class",
    "R",
    {
        "paper": (1000, 5000, 10_000, 50_000, 100_000),
        "auto": _FEW_R,
        "short": _FEW_R,
        "smoke": (100,),
    },
)

FIG3 = Experiment(
    name="fig3",
    rows_of=lambda budget: (Row("ce", "CE", "ce", kind="baseline"), *_FIG3.rows(budget)),
    metrics=BANDS,
    blocks=ISIC_2019_LT_500,
    axis=Axis("R, virtual features per class", curves=("head", "medium", "tail")),
    notes=(
        "The paper does not say which baseline its figure shows; here it is CE, drawn as horizontal lines.",
        "The values of R are ours: the paper's text names R = 50,000 alone.",
    ),
)

_FEW_J = (1, 2, 5, 10, 20)

FIG6 = Experiment(
    name="fig6",
    rows_of=Sweep(
        "iterations",
        "J",
        {
            "paper": (10, 50, 100, 200, 500),
            "auto": _FEW_J,
            "short": _FEW_J,
            "smoke": (2,),
        },
        {"select": "last"},
    ).rows,
    metrics=_METRICS,
    axis=Axis("J, EM iterations", logarithmic=False, seconds=True),
    notes=(
        "One run for each J, which keeps its last iteration (select: last) and not the best on validation, "
        "so that J means J.",
        "The values of J are ours: the paper's text names none.",
        "Seconds are those of both stages; stage 1 is the same for every J.",
    ),
)

FIG7 = Experiment(
    name="fig7",
    rows_of=Sweep("stage1.consistency_weight", "lambda_1", {"paper": (0.1, 1, 10, 100), "smoke": (10,)}).rows,
    metrics=_METRICS,
    blocks=HYPER_KVASIR,
    axis=Axis("lambda_1"),
    notes=("The values of lambda_1 are ours: the paper's text names lambda_1 = 10 alone.",),
)
