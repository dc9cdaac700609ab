"""What the names of loss terms mean, for whoever reads them in the lines of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

TERMS: Mapping[str, str] = MappingProxyType(
    {
        "total": "what is minimised",
        "cross_entropy": "-log of the probability of the label",
        "adjusted_cross_entropy": "cross entropy with the frequency of the classes in the logits",
        "balanced_softmax": "cross entropy with the number of images of each class in the logits",
        "smoothed_cross_entropy": "cross entropy against labels close to 1/K",
        "class_balanced": "cross entropy with rare classes weighted up",
        "focal": "cross entropy with easy images weighted down",
        "seesaw": "cross entropy that spares the rare classes",
        "ldam": "cross entropy with wider margins for rare classes",
        "clouded_cross_entropy": "cross entropy with noise on the logits, more for rare classes",
        "clouded_focal": "focal loss with noise on the logits, more for rare classes",
        "contrastive": "how much closer images of one class are than others",
        "shifted": "cross entropy at weights moved against each class",
        "noisy": "cross entropy of features moved against their class, rare classes weighted up",
        "distillation": "distance to the network of stage 1",
        "probability_consistency": "how far the probabilities of two views of an image differ",
        "sample_consistency": "how far the similarities between the images differ in two views",
        "channel_consistency": "how far the similarities between the channels differ in two views",
        "maximise": "M-step: cross entropy of the classifier on virtual features",
        "maximise_gradient": "M-step: largest entry of the gradient at its end",
        "maximise_evaluations": "M-step: evaluations that it took",
        "expect": "E-step: what is minimised",
        "expect_label": "E-step: cross entropy of the images",
        "distribution_consistency": "E-step: distance to the own class less that to the others",
        "active": "part of the images that is trained on",
        "adjustment": "weight of the class frequencies that is taken out of the logits",
        "norm_power": "exponent of the norms that are divided out of the classifier",
        "shift": "mean change of BatchNorm's means",
    }
)


def legend(names: Iterable[str]) -> str:
    """Returns what each of these terms is, on one line; a name that is not known is left out.

    >>> legend(["total", "own_term"])
    'total: what is minimised'
    """
    return "; ".join(f"{name}: {TERMS[name]}" for name in names if name in TERMS)
