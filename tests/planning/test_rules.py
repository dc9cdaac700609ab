"""The rules of the budget auto: each method gets a plan that can learn, from twelve images to a million."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmd import methods
from lmd.data.feed.cuts import batch_sizes
from lmd.errors import SettingsError
from lmd.planning import rules
from lmd.planning.facts import Facts
from lmd.planning.resolve import plan_of
from lmd.settings import CommonSettings, merge, resolve
from lmd.stages.optimisation import steps_per_epoch

TINY, SMALL, LARGE = Facts(12, 0, 28), Facts(243, 1, 150), Facts(7005, 12, 150)


def planned(name: str, facts: Facts, **chosen: Any) -> CommonSettings:
    module = methods.load(name)
    return resolve(module.Settings, methods.preset(module), plan_of(module, facts, chosen), chosen)


def steps_of_stage1(settings: CommonSettings, images: int) -> int:
    epochs = settings.model_dump()["stage1"]["epochs"]
    return epochs * steps_per_epoch(images, settings.batch, settings.last_batch)


@pytest.mark.parametrize("facts", [TINY, SMALL, LARGE], ids=["tiny", "small", "large"])
@pytest.mark.parametrize("name", [*methods.names(), "examples/my_method.py"])
def test_every_method_gets_a_plan_that_can_learn(name: str, facts: Facts) -> None:
    settings = planned(name, facts)
    assert settings.batch <= max(facts.images / 10, 2)
    assert settings.size <= facts.side
    assert sum(batch_sizes(facts.images, settings.batch, settings.last_batch)) == facts.images
    target = rules.step_target(facts)
    steps = steps_of_stage1(settings, facts.images)
    assert target <= steps < target + steps_per_epoch(facts.images, settings.batch, "even")


@given(st.integers(1, 10**6), st.integers(8, 4000), st.sampled_from(["cpu", "cuda"]))
def test_batch_and_size_keep_their_bounds(images: int, side: int, device: str) -> None:
    facts = Facts(images, 1, side, device, memory=2**34)
    assert 2 <= rules.batch_size(facts) <= max(2, min(64, images // 10))
    size = rules.image_size(facts)
    assert 8 <= size <= min(side, {"cpu": 64, "cuda": 224}[device])
    assert size == 8 or images * 3 * size**2 <= 2**34 / 4


def test_images_take_no_more_than_a_fourth_of_the_memory() -> None:
    roomy, full = Facts(10_000, 1, 300, memory=2**34), Facts(10_000, 1, 300, memory=2**28)
    assert (rules.image_size(roomy), rules.image_size(full)) == (64, 32)


@pytest.mark.parametrize(("rarest", "select"), [(0, "last"), (9, "last"), (10, "val_margin")])
def test_validation_chooses_the_epoch_where_it_has_images_of_every_class(rarest: int, select: str) -> None:
    assert rules.first_rules(Facts(1000, rarest, 150))["select"] == select


def test_lengths_in_epochs_follow_the_batch_that_a_person_chose() -> None:
    """The steps are what stays: twice the batch is about twice the epochs, and the ramp grows with them."""
    whole, larger = planned("lmd", SMALL).model_dump(), planned("lmd", SMALL, batch=48).model_dump()
    assert whole["stage1"]["epochs"] == 46  # 500 steps, 11 in an epoch.
    assert larger["stage1"]["epochs"] == 84  # 6 in an epoch.
    assert (whole["stage1"]["ramp_epochs"], larger["stage1"]["ramp_epochs"]) == (12, 21)
    dropping = planned("lmd", SMALL, last_batch="drop").model_dump()
    assert dropping["stage1"]["epochs"] == 50  # 10 in an epoch.


def test_epochs_that_a_person_chose_shorten_what_is_a_part_of_them() -> None:
    chosen = planned("lmd", SMALL, stage1={"epochs": 8}).model_dump()
    assert (chosen["stage1"]["epochs"], chosen["stage1"]["ramp_epochs"]) == (8, 2)
    assert planned("fcd", SMALL, stage1={"epochs": 9}).model_dump()["stage2"]["epochs"] == 3


def test_a_classifier_is_trained_no_shorter_than_its_authors_did() -> None:
    assert planned("lort", LARGE).model_dump()["stage2"]["epochs"] == 20
    assert planned("decoupling", SMALL).model_dump()["stage2"]["epochs"] == 46


@pytest.mark.parametrize(
    ("encoder", "side", "size"),
    [("resnet18", 150, 150), ("vit_tiny_patch16_224", 150, 144), ("vit_small_patch14_dinov2", 64, 56)],
)
def test_the_size_is_one_that_the_encoder_can_take(encoder: str, side: int, size: int) -> None:
    facts = Facts(243, 1, side, "cuda")
    assert planned("ce", facts, encoder=encoder).size == size
    assert planned("ce", facts, encoder=encoder, size=100).size == 100  # Refused later, with the way out.


def test_what_a_person_chose_is_checked_first() -> None:
    with pytest.raises(SettingsError, match="batch = 'many'"):
        planned("ce", SMALL, batch="many")
    with pytest.raises(SettingsError, match=r"unknown setting 'stage1\.epoch'"):
        planned("ce", SMALL, stage1={"epoch": 3})


def test_a_methods_own_part_lies_over_the_rules() -> None:
    own = merge(rules.stage_lengths(SMALL, methods.load("lmd").Settings), methods.load("lmd").BUDGETS["auto"])
    assert own["stage1"]["optimisation"] == {"schedule": "cosine"}
    assert own["stage1"]["consistency_weight"] == 3.0
