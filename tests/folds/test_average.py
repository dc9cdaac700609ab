"""The models of all folds as one: the mean of their probabilities, on request."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lmd as package
from lmd.data.dataset.folds_folder import Folds
from lmd.errors import SettingsError
from lmd.folds.average import AverageNetwork
from lmd.folds.pooled_card import pooled_outputs
from lmd.model_card import Outputs
from lmd.models.network import Network, Output
from tests import toy
from tests.command import Command, refused

SHARES = [f"p_{name}" for name in toy.CLASSES]


class Fixed(Network):
    """A network that answers everything alike."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__(torch.nn.Identity(), torch.nn.Identity())
        self.answer = torch.tensor([logits])

    def forward(self, images: torch.Tensor) -> Output:
        return Output(images.flatten(1)[:, :2], self.answer.expand(len(images), -1))


def test_its_softmax_is_the_mean_of_theirs() -> None:
    """(0.8, 0.2) and (0.4, 0.6) give (0.6, 0.4)."""
    network = AverageNetwork([Fixed([np.log(0.8), np.log(0.2)]), Fixed([np.log(0.4), np.log(0.6)])])
    output = network(torch.zeros(3, 3, 4, 4))
    torch.testing.assert_close(output.logits.softmax(1), torch.tensor([[0.6, 0.4]] * 3))
    assert output.features.shape == (3, 4)


def test_each_has_its_own_temperature() -> None:
    """At temperatures of 2 and 4 the same two; softmax(s / 3) of the logits is the mean."""
    networks = [Fixed([2 * np.log(0.8), 2 * np.log(0.2)]), Fixed([4 * np.log(0.4), 4 * np.log(0.6)])]
    output = AverageNetwork(networks, [2.0, 4.0])(torch.zeros(3, 3, 4, 4))
    torch.testing.assert_close((output.logits / 3).softmax(1), torch.tensor([[0.6, 0.4]] * 3))


def test_what_the_mean_of_several_models_is() -> None:
    one = Outputs(tau=0.5, tau_validation=0.25, temperature=1.0, temperature_by="validation", prior="uniform")
    other = Outputs(tau=1.0, tau_validation=0.75, temperature=2.0, prior="uniform")
    both = pooled_outputs([one, other])
    assert (both.tau, both.tau_validation, both.temperature, both.prior) == (0.75, 0.5, 1.5, "uniform")
    unknown = one.model_copy(update={"prior": "training", "tau_validation": None})
    assert pooled_outputs([one, unknown]).prior == "unknown"
    assert pooled_outputs([one, unknown]).tau_validation is None


def test_logits_of_any_size_stay_finite() -> None:
    output = AverageNetwork([Fixed([1000.0, 0.0]), Fixed([0.0, 1000.0])])(torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(output.logits.softmax(1), torch.tensor([[0.5, 0.5]]))


def test_predict_averages_on_request(lmd: Command, folds: Folds, finished: Path) -> None:
    images = [folds.first.root / name for name in ("x01.png", "x58.png")]
    code, out, err = lmd("predict", finished, *images, "--average")
    assert code == 0, err
    answers = pd.read_csv(io.StringIO(out))
    each = [package.load(finished / name).predict(images) for name in folds.names]
    mean = np.mean([answer[SHARES] for answer in each], axis=0)
    np.testing.assert_allclose(answers[SHARES], mean, atol=1e-4)  # As printed, with four decimals.
    assert answers["predicted"].tolist() == np.array(toy.CLASSES)[mean.argmax(1)].tolist()
    model = package.load(finished, average=True)
    np.testing.assert_allclose(model.predict(images)[SHARES], mean, atol=1e-6)
    assert model.classes == folds.classes


def test_without_the_request_the_two_ways_are_named(lmd: Command, folds: Folds, finished: Path) -> None:
    image = folds.first.root / "x01.png"
    refused(lmd("predict", finished, image), "a run for each fold", "--average", "finished/fold-1")
    refused(lmd("predict", finished / "fold-1", image, "--average"), "--average", "is one run")
    with pytest.raises(SettingsError, match="average=True"):
        package.load(finished)
    with pytest.raises(SettingsError, match="is one run"):
        package.load(finished / "fold-1", average=True)


def test_an_unfinished_fold_is_named(lmd: Command, folds: Folds, run: Path) -> None:
    (run / "fold-3" / "model" / "model.json").unlink()
    refused(lmd("predict", run, folds.first.root / "x01.png", "--average"), "fold-3", "has not finished")
