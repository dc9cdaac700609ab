"""Which runs share a first stage: those where it comes out the same, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.experiments.runs import stage1_signature
from lmd.settings import merge, resolve
from lmd.training.start import train
from tests import toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def signature(name: str, dataset: Dataset, **changes: Any) -> str | None:
    plain = {"pretrained": False, "encoder": "test_resnet"}
    settings = methods.settings_of(name, recipe=plain, flags=changes)
    stage = methods.load(name).stages(settings, dataset.counts("train"))[0]
    return stage1_signature(settings, stage, dataset.info.manifest_sha256)


CE_FAMILY = ["ce", "decoupling", "bn-control", "logit-adjustment", "lort"]
RRL_FAMILY = ["lmd", "rrl-crt", "rrl-logit-adjustment"]


@pytest.mark.parametrize("family", [CE_FAMILY, RRL_FAMILY])
def test_methods_with_the_same_first_stage_share_it(family: list[str], dataset: Dataset) -> None:
    found = {signature(name, dataset) for name in family}
    assert len(found) == 1
    assert None not in found


def test_no_other_two_methods_share(dataset: Dataset) -> None:
    """Each first stage that is a method's own has a signature of its own."""
    alone = set(methods.names()) - {*CE_FAMILY, *RRL_FAMILY}
    found = [signature(name, dataset) for name in (*sorted(alone), "ce", "lmd")]
    told = [text for text in found if text is not None]
    assert len(set(told)) == len(told)
    assert len(told) > 10


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"size": 32},
        {"batch": 64},
        {"bn_recalibrate": True},
        {"encoder": "resnet18"},
        {"stage1": {"epochs": 7}},
        {"stage1": {"optimisation": {"weight_decay": 0.1}}},
        {"stage1": {"consistency_weight": 3.0}},
        {"stage1": {"stage2_from": "teacher"}},
        {"without": "rrl"},
    ],
)
def test_whatever_changes_the_first_stage_changes_the_signature(
    changes: dict[str, Any], dataset: Dataset
) -> None:
    assert signature("lmd", dataset, **changes) != signature("lmd", dataset)


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 3},
        {"without": "icc"},
        {"without": "vfc"},
        {"without": "fdc"},
        {"select": "last"},
        {"tau": 0.75},
        {"calibration": "temperature"},
    ],
)
def test_what_comes_later_does_not(changes: dict[str, Any], dataset: Dataset) -> None:
    assert signature("lmd", dataset, **changes) == signature("lmd", dataset)


def test_other_data_or_a_stage_that_cannot_be_compared_is_not_shared(dataset: Dataset) -> None:
    method = methods.load("ce")
    settings = resolve(method.Settings, {"pretrained": False})
    stage = method.stages(settings, dataset.counts("train"))[0]
    assert stage1_signature(settings, stage, "0" * 64) != stage1_signature(settings, stage, "1" * 64)
    stage.secret = object()  # type: ignore[attr-defined]
    assert stage1_signature(settings, stage, "0" * 64) is None


def test_a_shared_first_stage_leads_to_the_same_weights(dataset: Dataset, tmp_path: Path) -> None:
    """What the sharing rests on: started from CE's run, cRT ends where it ends by itself."""
    recipe = merge(toy.COMMON, {"stage2": {"epochs": 2}})
    settings = resolve(methods.load("decoupling").Settings, recipe)
    ce = train(dataset, "ce", resolve(methods.load("ce").Settings, toy.COMMON), tmp_path / "ce")
    whole = load_file(train(dataset, "decoupling", settings, tmp_path / "whole").weights)
    shared = load_file(train(dataset, "decoupling", settings, tmp_path / "shared", start=ce).weights)
    assert whole.keys() == shared.keys()
    assert all(torch.equal(value, shared[name]) for name, value in whole.items())
