"""What the tests of the experiments ask for: small schedules on small phantoms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmd.data.dataset.manifest import read_dataset
from lmd.data.dataset.sources import phantom
from lmd.experiments import EXPERIMENTS
from lmd.experiments.request import Request
from lmd.experiments.side_by_side import words_of
from lmd.settings import Tree

COMMON = ("encoder=test_resnet", "pretrained=false", "size=16", "batch=16", "stage1.epochs=1")
SHORT_ICC = ("m_step.batch=40",)
FEW_VIRTUAL = ("m_step.virtual_per_class=40",)
# What each runs on the phantoms: all rows of one table, and of the others those that differ from it. In table 4
# the E-step moves nothing, so that its rows cannot differ.
CALLS: dict[str, Tree] = {
    "table1": {"overrides": (*COMMON, "stage2.epochs=1", *SHORT_ICC, *FEW_VIRTUAL)},
    "table2": {"methods": "ce,decoupling,lmd", "seeds": 2},
    "table3": {"methods": "ce,lmd", "data": ("100=first", "500=second")},
    "table4": {"overrides": (*COMMON, *SHORT_ICC, *FEW_VIRTUAL, "e_step.optimisation.lr=1e-30")},
    "table5": {},
    "fig3": {"overrides": (*COMMON, *SHORT_ICC)},
    "fig4": {},
    "fig5": {"methods": "decoupling,lmd"},
    "fig6": {},
    "fig7": {},
}


def draw_phantoms(root: Path) -> Path:
    """Makes two phantom data sets in a folder."""
    for name, imbalance in (("first", 6), ("second", 12)):
        options = phantom.Options(images=24, imbalance=imbalance, val_per_class=2, test_per_class=4, size=20)
        phantom.prepare(options, root / name)
    return root


@contextmanager
def as_the_papers(root: Path) -> Iterator[None]:
    """For a while the phantoms count as the paper's data: its blocks have their training counts."""
    counts = {
        name: tuple(map(int, read_dataset(root / name).counts("train"))) for name in ("first", "second")
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, experiment in EXPERIMENTS.items():
            blocks = tuple(
                replace(block, counts=counts["second" if block.key == "500" else "first"])
                for block in experiment.blocks
            )
            patch.setitem(EXPERIMENTS, name, replace(experiment, blocks=blocks))
        yield


def request_of(root: Path, name: str, out: Path | None = None, **changes: Any) -> Request:
    call = {"overrides": (*COMMON, *SHORT_ICC, *FEW_VIRTUAL), "seeds": 1, "data": ("first",)}
    call |= CALLS[name] | changes
    data = [
        text.replace("first", str(root / "first")).replace("second", str(root / "second"))
        for text in call.pop("data")
    ]
    return Request(name, data, out or root / name, budget="smoke", **call)


def words_for(request: Request) -> list[str]:
    """The words of the command that makes a request."""
    return ["reproduce", *words_of(request)]
