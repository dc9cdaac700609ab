"""Stages on a frozen encoder: what moves, what does not, and post-hoc logit adjustment."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set
from lmd.errors import SettingsError
from lmd.methods import bn_control, rrl_crt, rrl_logit_adjustment
from lmd.models.classifier import CosineClassifier, LinearClassifier, build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode
from lmd.models.network import Network, batch_norms
from lmd.recipe import read_recipe
from lmd.runtime import Runtime
from lmd.settings import CommonSettings, resolve
from lmd.stages.adjustment import balanced_hits, best_on_validation
from lmd.stages.base import Stage, StageContext
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.logit_adjustment import LogitAdjustment
from tests import toy


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, ImageSet]:
    dataset = toy.make_dataset(tmp_path_factory.mktemp("toy"))
    pixels = open_cache(dataset, 16, "none")
    return image_set(dataset, "train", pixels), image_set(dataset, "val", pixels)


COMMON = resolve(CommonSettings, {key: value for key, value in toy.COMMON.items() if key != "stage1"})


def prepared(
    stage: Stage, sets: tuple[ImageSet, ImageSet], kind: str = "linear", validation: bool = True
) -> Network:
    """A new network, handed to a stage; two passes in training mode give BatchNorm some statistics."""
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier(kind, num_features(encoder), 3, 0))
    for rows in (slice(0, 30), slice(30, 57)):
        network.train()(2.0 * sets[0].pixels[rows].float() / 255)
    stage.prepare(StageContext(network, sets[0], Runtime(), lambda *_: None, sets[1] if validation else None))
    return network


def copy_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def unchanged(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if torch.equal(before[name], value)}


@pytest.mark.parametrize("classifier", ["new", "kept"])
def test_only_the_classifier_moves(sets: tuple[ImageSet, ImageSet], classifier: str) -> None:
    """Neither a weight of the encoder nor a running statistic."""
    stage = ClassifierTraining(COMMON, ClassifierSettings.model_validate({"classifier": classifier}))
    network = prepared(stage, sets)
    encoder, head = copy_of(network.encoder), copy_of(network.classifier)
    stage.run_epoch(0)
    assert unchanged(encoder, network.encoder) == encoder.keys()
    assert unchanged(head, network.classifier) == set()
    assert not network.training


@pytest.mark.parametrize("classifier", ["new", "kept"])
def test_the_old_classifier_is_kept_only_where_asked(
    sets: tuple[ImageSet, ImageSet], classifier: str
) -> None:
    stage = ClassifierTraining(COMMON, ClassifierSettings.model_validate({"classifier": classifier}))
    network = prepared(stage, sets)
    old = build_classifier("linear", num_features(network.encoder), 3, 0).state_dict()
    assert torch.equal(old["weight"], network.classifier.state_dict()["weight"]) == (classifier == "kept")


def test_a_new_classifier_is_another_with_another_seed(sets: tuple[ImageSet, ImageSet]) -> None:
    heads = []
    for seed in (1, 1, 2):
        stage = ClassifierTraining(COMMON.model_copy(update={"seed": seed}), ClassifierSettings())
        heads.append(copy_of(prepared(stage, sets).classifier)["weight"])
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_the_order_of_images_depends_on_seed_and_epoch(sets: tuple[ImageSet, ImageSet]) -> None:
    orders = []
    for seed, epoch in ((1, 0), (1, 0), (2, 0), (1, 1)):
        stage = ClassifierTraining(COMMON.model_copy(update={"seed": seed}), ClassifierSettings())
        prepared(stage, sets)
        orders.append(stage.order(epoch).tolist())
    assert orders[0] == orders[1]
    assert orders[2] != orders[0] != orders[3]


def test_its_batches_are_the_features_of_clean_images(sets: tuple[ImageSet, ImageSet]) -> None:
    """In the order that was asked for, with the labels that belong to them, full batches alone."""
    stage = ClassifierTraining(COMMON, ClassifierSettings())
    network = prepared(stage, sets)
    stage.set_mode()
    order = np.array([5, 50, 3, 41, 56, 0, 7, 8, 9, 5])
    (batch,) = list(stage.batches(order))
    expected = encode(network, sets[0], Runtime()).features[torch.from_numpy(order[:8])]
    assert torch.equal(batch.images, expected)
    assert torch.equal(batch.labels, sets[0].labels[torch.from_numpy(order[:8])])
    assert [len(batch.labels) for batch in stage.batches(order[:3])] == [3]


def test_features_are_encoded_once(sets: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch) -> None:
    from lmd.stages import classifier_training as _heads

    calls: list[int] = []

    def counting(network: Network, images: ImageSet, runtime: Runtime) -> Any:
        calls.append(len(images.labels))
        return encode(network, images, runtime)

    monkeypatch.setattr(_heads, "encode", counting)
    stage = ClassifierTraining(COMMON, ClassifierSettings())
    prepared(stage, sets)
    for epoch in range(3):
        stage.run_epoch(epoch)
    assert calls == [57]


def test_a_head_reaches_the_optimum_of_a_convex_problem(sets: tuple[ImageSet, ImageSet]) -> None:
    """Against scikit-learn: multinomial regression on the same features, each image once."""
    from sklearn.linear_model import LogisticRegression

    settings = ClassifierSettings.model_validate(
        {
            "epochs": 400,
            "sampling": "instance",
            "optimisation": {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1, "schedule": "cosine"},
        }
    )
    stage = ClassifierTraining(COMMON.model_copy(update={"batch": 57}), settings)
    network = prepared(stage, sets)
    for epoch in range(400):
        stage.run_epoch(epoch)
    features = encode(network, sets[0], Runtime()).features.numpy()
    weight = cast("LinearClassifier", network.classifier).weight.detach().numpy()
    # Decay on the bias as well: a constant feature in its place.
    extended = np.hstack([features, np.ones((57, 1), np.float32)])
    reference = LogisticRegression(C=1 / (57 * 0.1), fit_intercept=False, tol=1e-8, max_iter=10_000)
    reference.fit(extended, sets[0].labels.numpy())
    np.testing.assert_allclose(weight, reference.coef_[:, :-1], atol=2e-3)


# Logit adjustment.


def test_the_adjustment_takes_the_prior_out_of_the_logits(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = LogitAdjustment(COMMON, 0.7)
    network = prepared(stage, sets)
    before = encode(network, sets[1], Runtime()).logits.clone()
    assert stage.run_epoch(0) == {"adjustment": 0.7}
    after = encode(network, sets[1], Runtime()).logits
    expected = before - 0.7 * torch.tensor([math.log(count / 57) for count in toy.COUNTS["train"]])
    torch.testing.assert_close(after, expected)


def test_no_tau_changes_nothing(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = LogitAdjustment(COMMON, 0.0)
    network = prepared(stage, sets)
    before = copy_of(network)
    stage.run_epoch(0)
    assert unchanged(before, network) == before.keys()


def test_the_tau_of_the_adjustment_is_the_best_on_validation(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = LogitAdjustment(COMMON, None)
    network = prepared(stage, sets)
    with torch.no_grad():
        cast("LinearClassifier", network.classifier).bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    logits = encode(network, sets[1], Runtime()).logits.clone()
    prior = torch.tensor([math.log(count / 57) for count in toy.COUNTS["train"]])
    scores = [balanced_hits(logits - step / 10 * prior, sets[1].labels) for step in range(31)]
    assert len(set(scores)) > 1
    best = scores.index(max(scores)) / 10
    assert stage.run_epoch(0)["adjustment"] == best > 0
    torch.testing.assert_close(encode(network, sets[1], Runtime()).logits, logits - best * prior)


def test_choosing_needs_validation_and_a_linear_classifier(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = LogitAdjustment(COMMON, None)
    prepared(stage, sets, validation=False)
    with pytest.raises(
        SettingsError, match="'adjustment' is to be chosen on validation, which has no images"
    ):
        stage.run_epoch(0)
    with pytest.raises(SettingsError, match="linear classifier in stage 1, found CosineClassifier"):
        prepared(LogitAdjustment(COMMON, 1.0), sets, "cosine")


def test_the_smallest_of_equally_good_taus_wins(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = LogitAdjustment(COMMON, None)
    prepared(stage, sets)
    right = torch.nn.functional.one_hot(sets[1].labels, 3).float()
    found = best_on_validation(stage.context, "tau", lambda _, tau: right if tau >= 0.4 else -right)
    assert found == 0.4


def test_balanced_hits_are_the_mean_recall_of_the_classes_that_are_there() -> None:
    labels = torch.tensor([0, 0, 0, 2])
    logits = torch.eye(3)[torch.tensor([0, 0, 1, 2])]
    assert balanced_hits(logits, labels) == pytest.approx((2 / 3 + 1) / 2)


# The methods made of them.


def test_the_control_moves_batch_norm_s_statistics_and_no_weight(sets: tuple[ImageSet, ImageSet]) -> None:
    settings = resolve(bn_control.Settings, toy.COMMON)
    stage = bn_control.stages(settings, sets[0].counts)[1]
    network = prepared(stage, sets)
    before = copy_of(network)
    losses = stage.run_epoch(0)
    changed = before.keys() - unchanged(before, network)
    assert changed
    assert all("running_" in name or "num_batches" in name for name in changed)
    means = [name for name in before if name.endswith("running_mean")]
    moved = torch.cat([(network.state_dict()[name] - before[name]).abs() for name in means])
    assert losses["shift"] == pytest.approx(float(moved.mean()))
    assert len(means) == len(batch_norms(network))


def test_the_control_leaves_an_encoder_without_batch_norm_alone(sets: tuple[ImageSet, ImageSet]) -> None:
    settings = resolve(bn_control.Settings, {**toy.COMMON, "encoder": "test_vit"})
    stage = bn_control.stages(settings, sets[0].counts)[1]
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8))
    encoder.num_features = 8  # type: ignore[assignment]
    network = Network(encoder, build_classifier("linear", 8, 3, 0))
    stage.prepare(StageContext(network, sets[0], Runtime(), lambda *_: None, sets[1]))
    before = copy_of(network)
    assert stage.run_epoch(0) == {}
    assert unchanged(before, network) == before.keys()


@pytest.mark.parametrize("method", [rrl_crt, rrl_logit_adjustment])
def test_rrl_variants_begin_as_lmd_does(method: Any) -> None:
    from lmd.methods import lmd

    for budget in ({}, *(method.BUDGETS[name] for name in ("smoke", "short"))):
        own = resolve(method.Settings, budget)
        theirs = resolve(lmd.Settings, {} if budget == {} else {"stage1": budget["stage1"]})
        assert own.stage1 == theirs.stage1
    for name in ("smoke", "short"):
        assert method.BUDGETS[name]["stage1"] == lmd.BUDGETS[name]["stage1"]


@pytest.mark.parametrize("name", ["rrl_crt", "rrl_logit_adjustment", "decoupling", "bn_control"])
def test_recipes_begin_as_the_run_that_they_are_compared_on(name: str) -> None:
    """Otherwise `--from` that run and the recipe alone would give two encoders."""
    folder = Path(__file__).parents[2] / "recipes" / "isic2019-64"
    first = read_recipe(folder / ("lmd.yaml" if name.startswith("rrl") else "ce.yaml"))
    own = read_recipe(folder / f"{name}.yaml")
    assert own["stage1"] == first["stage1"]
    assert own["size"] == first["size"]


def test_the_cosine_classifier_is_kept_too(sets: tuple[ImageSet, ImageSet]) -> None:
    stage = ClassifierTraining(COMMON, ClassifierSettings(classifier="kept"))
    network = prepared(stage, sets, "cosine")
    stage.run_epoch(0)
    assert isinstance(network.classifier, CosineClassifier)
