"""What ends a training: the model card, what its outputs are, and its answers on the validation images."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.loader import ImageSet
from lmd.evaluation.answers import answer_table, write_predictions
from lmd.evaluation.outputs import joined, outputs_of
from lmd.evaluation.predict import Model, names_of
from lmd.evaluation.probability.decisions import choose_tau, log_prior
from lmd.evaluation.probability.temperature import temperature_for
from lmd.evaluation.selective.unlikeness_files import features_of, unlikeness_of_model, write_unlikeness
from lmd.model_card import ModelCard, Outputs, Preprocessing, Prior, TrainedOn
from lmd.models.classifier import classifier_kind
from lmd.models.network import Network
from lmd.run import RunFolder
from lmd.settings import CommonSettings, Tree
from lmd.training.known import known_weaknesses
from lmd.training.selection import Best


def card_of(
    dataset: Dataset,
    identity: Tree,
    settings: CommonSettings,
    network: Network,
    best: Best,
    precision: str,
    seconds: float,
) -> ModelCard:
    """Returns the card of a trained network, which does not yet say what its outputs are."""
    info, (mean, std) = dataset.info, network.scale
    taken_over = identity["from_sha256"] is not None
    return ModelCard(
        method=identity["method"],
        encoder=settings.encoder,
        classifier=cast("Any", classifier_kind(network.classifier)),
        classes=dataset.classes,
        bands=info.bands,
        bands_rule=info.bands_rule,
        preprocessing=Preprocessing(
            size=settings.size,
            crop=settings.crop,
            mean=mean,
            std=std,
            bits=info.recipe.get("bits"),
            flips=settings.flips,
        ),
        precision=cast("Any", precision),
        training_counts=dataset.counts("train").tolist(),
        dataset=TrainedOn(**info.model_dump(include=set(TrainedOn.model_fields))),
        selected_by=settings.select,
        validation_bacc=best.validation.get("bacc"),
        validation_margin=best.validation.get("margin"),
        training_seconds=round(seconds, 3),
        warnings=known_weaknesses(dataset, identity["method"], settings, taken_over),
    )


class Trained(NamedTuple):
    """A model at the end of its training, and the images that it was trained and chosen by."""

    model: Model
    settings: CommonSettings
    train: ImageSet
    val: ImageSet | None


def card_with_outputs(trained: Trained, dataset: Dataset, run: RunFolder) -> ModelCard:
    """Returns the card of a model with what its outputs are.

    It writes the answers on the validation images, and what tells unlike images. tau and the temperature are
    chosen by what the network says of the validation images; without any, nothing is fitted.
    """
    card, settings = trained.model.card, trained.settings
    prior = methods.implied_prior(methods.load(card.method), settings)
    if trained.val is None:
        tau = 0.0 if settings.tau == "validation" else settings.tau
        return card.model_copy(update={"outputs": Outputs(tau=tau, prior=prior)})
    outputs = list(outputs_of(trained.model, trained.val.pixels))
    known = unlikeness_of_model(trained.model, trained.train, outputs)
    write_unlikeness(run, known)
    logits, unlike = joined([one.logits for one in outputs]), known.unlike(features_of(outputs))
    labels, counts = dataset.labels("val"), np.array(card.training_counts)
    found = fitted_outputs(logits, labels, counts, settings.tau, settings.calibration, prior)
    card = card.model_copy(update={"outputs": found})
    write_predictions(run.predictions("val"), answer_table(logits, names_of(dataset, "val"), card, unlike))
    return card


def fitted_outputs(
    logits: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    tau: float | Literal["validation"],
    calibration: str,
    prior: Prior,
) -> Outputs:
    """Returns what validation says of a model, from its logits [N, K] on images with labels [N].

    `counts` are the training images of each class.
    """
    chosen, temperature = choose_tau(logits, labels, log_prior(counts)), None
    if calibration == "temperature":
        temperature = temperature_for(prior, logits, labels, counts)
    return Outputs(
        tau=chosen if tau == "validation" else tau,
        tau_by="validation" if tau == "validation" else "settings",
        tau_validation=chosen,
        temperature=1.0 if temperature is None else temperature,
        temperature_by="none" if temperature is None else "validation",
        prior=prior,
    )
