"""Post-hoc logit adjustment: the bias of a trained classifier is shifted by the class prior."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from lmd.losses.prior import log_prior
from lmd.model_card import Prior
from lmd.settings import CommonSettings
from lmd.stages.adjustment import Adjustment, best_on_validation, linear_classifier
from lmd.stages.base import StageContext
from lmd.stages.optimisation import Losses


def refuse_tau_alone(tree: Any) -> Any:
    """Refuses `tau` without `adjustment` among the settings of a method that has both.

    Up to version 0.2 `tau` was what `adjustment` is now. An old recipe must not shift the decisions besides.
    """
    given = cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}
    tau = given.get("tau", "validation")
    meant = tau is None or (isinstance(tau, int | float) and tau >= 0)  # What is neither is refused as such.
    if meant and "adjustment" not in given:
        raise ValueError(
            "tau alone may mean two things here: 'adjustment' is this method's own factor, in the weights "
            "(the tau of its paper, once called tau), and 'tau' shifts the decisions besides; name both, as "
            "adjustment=1 and tau=0"
        )
    return cast("Any", tree)


def prior_after(sampling: str, adjustment: float | None) -> Prior:
    """Returns what an adjustment leaves of the frequency of classes: nothing at 1, all of it at 0."""
    if sampling != "instance" or adjustment not in (0.0, 1.0):
        return "unknown"
    return "uniform" if adjustment else "training"


class LogitAdjustment(Adjustment):
    """Post-hoc logit adjustment: s_k <- s_k - a log pi_k, pi_k = N_k / N (Menon et al., ICLR 2021).

    A linear classifier takes the constant into its bias and stays an ordinary linear one.
    """

    def __init__(self, common: CommonSettings, strength: float | None) -> None:
        """Keeps a; None is the best of 0, 0.1 ... 3 on validation."""
        super().__init__(common)
        self.strength = strength

    def prepare(self, context: StageContext) -> None:
        """Takes the network over; its classifier has to be linear."""
        super().prepare(context)
        linear_classifier(context)

    def adjust(self) -> Losses:
        """Changes the bias."""
        classifier = linear_classifier(self.context)
        weight, bias = classifier.weight, classifier.bias.detach().clone()
        prior = log_prior(torch.from_numpy(self.context.train.counts)).to(bias)
        strength = self.strength
        if strength is None:
            strength = best_on_validation(
                self.context,
                "adjustment",
                lambda z, a: nn.functional.linear(z, weight, bias - a * prior),
                highest=3.0,
            )
        classifier.bias.copy_(bias - strength * prior)
        return {"adjustment": strength}
