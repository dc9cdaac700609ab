"""LMD as printed: that it does not train at the paper's weight, and that the budgets' weight does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd import methods
from lmd.errors import SettingsError
from lmd.settings import merge
from lmd.training.start import train
from tests import toy


def test_at_the_printed_weight_it_says_in_one_line_that_it_diverges(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    settings = methods.settings_of("lmd-literal", recipe=toy.COMMON)
    assert settings.stage1.consistency_weight == 10.0
    with pytest.raises(SettingsError, match=r"the loss term '\w+' became (nan|inf): lower a learning rate"):
        train(dataset, "lmd-literal", settings, tmp_path / "run")


@pytest.mark.parametrize("budget", ["smoke", "short"])
def test_the_budgets_have_a_weight_that_trains_and_are_else_those_of_lmd(budget: str) -> None:
    literal, lmd = (methods.budget(methods.load(name), budget) for name in ("lmd-literal", "lmd"))
    assert literal == merge(lmd, {"tau": 0.0, "stage1": {"consistency_weight": 1e-5}})
