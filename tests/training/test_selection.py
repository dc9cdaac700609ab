"""Which of the networks that a stage offers is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lmd.models.classifier import LinearClassifier
from lmd.models.network import Network
from lmd.settings import CommonSettings
from lmd.stages.adjustment import Adjustment
from lmd.training.selection import Best, Selection


class Marked(Adjustment):
    """A stage whose network and artefacts tell which of its networks was kept."""

    def __init__(self) -> None:
        super().__init__(CommonSettings())
        self.network = Network(nn.Identity(), LinearClassifier(1, 2, seed=0))

    def mark(self, number: int) -> None:
        self.network.classifier.weight.data.fill_(number)

    def artefacts(self) -> dict[str, Tensor]:
        return {"mark": self.network.classifier.weight.detach().clone()}


def kept(scores: list[float | None], keep: bool = True) -> int | None:
    """The number of the network that is kept of those with these scores."""
    stage, best = Marked(), Best()
    given = iter(scores)
    selection = Selection(stage, best, "bacc" if keep else None, lambda _: {"bacc": next(given)})
    for number in range(len(scores)):
        stage.mark(number)
        selection.offer()
    if best.weights is None or best.artefacts is None:
        return None
    marks = [*best.weights["classifier.weight"].flatten(), *best.artefacts["mark"].flatten()]
    assert len(set(map(float, marks))) == 1
    return int(marks[0])


@pytest.mark.parametrize(
    ("scores", "number"),
    [([0.5, 0.7, 0.6], 1), ([0.5, 0.7, 0.7], 1), ([0.0, 0.0], 0), ([None, 0.2], 1), ([None], None)],
    ids=["the best", "the first of equals", "none is right", "no validation at first", "no validation"],
)
def test_the_best_network_is_kept_with_what_it_leaves(scores: list[float | None], number: int | None) -> None:
    assert kept(scores) == number


def test_where_validation_does_not_choose_it_is_measured_but_nothing_is_kept() -> None:
    assert kept([0.5, 0.7], keep=False) is None


def test_what_is_kept_is_a_copy() -> None:
    stage, best = Marked(), Best()
    stage.mark(1)
    best.keep(stage, 0.5, {})
    stage.mark(2)
    assert best.weights is not None
    assert torch.equal(best.weights["classifier.weight"], torch.ones(2, 1))
