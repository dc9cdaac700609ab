"""What tau does on the features of trained encoders: the tables of docs/tau.md.

    python -m benchmarks.tau DATA FEATURES.npz...    # benchmarks/results/tau: tau.json, l2.json

DATA and FEATURES are those of `benchmarks.saved`. `l2.json` has the exact M-step with other values of
`m_step.l2`, judged on the validation images: balanced accuracy at tau .75, the smoothed criterion, and the
paired difference to the default, over lesions and encoders. The test images are in it to be looked at only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.saved import Saved, all_saved, parser
from lmd.evaluation.cases import Cases, measure_all
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, mean_of
from lmd.evaluation.metrics import balanced_accuracy, macro_auc
from lmd.evaluation.probability.decisions import (
    GRID,
    choose_tau,
    log_prior,
    margin_score,
    softmax,
    width_of,
)
from lmd.losses.covariance import shrink
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import class_statistics

RIDGE, L2, DRAWS, TAU = 0.01, 0.01, 1024, 0.75
OTHER_L2 = (0.003, 0.01, 0.03, 0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures every encoder and classifier, and writes the two files."""
    options = parser(__doc__ or "", "tau").parse_args(arguments)
    some = all_saved(options)
    logits = {(saved.name, l2): exact(saved, l2) for saved in some for l2 in OTHER_L2}
    rows = []
    for saved in some:
        for kind, found in (("stage 1", saved.logits), ("exact ICC", logits[saved.name, L2])):
            rows.append({"encoder": saved.name, "classifier": kind, **told(saved, found)})
            print(rows[-1], flush=True)
    (options.out / "tau.json").write_text(json.dumps(rows, indent=1) + "\n")
    by_l2 = [of_l2(some, logits, l2) for l2 in OTHER_L2]
    print(*by_l2, sep="\n")
    (options.out / "l2.json").write_text(json.dumps(by_l2, indent=1) + "\n")
    return 0


def exact(saved: Saved, l2: float) -> np.ndarray:
    """Returns the logits of all images by ICC's exact M-step, from the classifier of stage 1 on."""
    features, labels = (torch.from_numpy(part) for part in saved.of("train"))
    classes = len(saved.dataset.classes)
    gaussians = shrink(class_statistics(features, labels, classes), "ridge", RIDGE)
    objective = ExpectedCrossEntropy(gaussians, quasi_normal(classes - 1, DRAWS, 0), l2)
    found = minimise(objective, *(torch.from_numpy(one).float() for one in saved.classifier))
    return saved.features @ found.weight.numpy().T + found.bias.numpy()


def prior_of(saved: Saved) -> np.ndarray:
    """Log pi of the training images [K]."""
    return log_prior(np.bincount(saved.of("train")[1]))


def told(saved: Saved, logits: np.ndarray) -> dict[str, Any]:
    """Returns what tau does to some logits [N, K], chosen on validation and measured on test."""
    prior = prior_of(saved)
    (val, of_val), (test, of_test) = (
        (logits[saved.rows(one)], saved.labels[saved.rows(one)]) for one in ("val", "test")
    )
    smoothed = choose_tau(val, of_val, prior)
    plain = max(GRID, key=lambda tau: balanced_accuracy(of_val, val - tau * prior))
    taus = {"0": 0.0, "0.75": TAU, "smoothed": smoothed, "plain": float(plain)}
    largest = of_test == int(prior.argmax())
    shifted = {name: test - tau * prior for name, tau in taus.items()}
    return {
        "tau": taus,
        "bacc": {name: balanced_accuracy(of_test, one) for name, one in shifted.items()},
        "recall of the largest class": {
            name: float((shifted[name][largest].argmax(1) == prior.argmax()).mean()) for name in ("0", "0.75")
        },
        "auc": {name: macro_auc(of_test, softmax(shifted[name])) for name in ("0", "0.75")},
    }


def of_l2(some: Sequence[Saved], logits: dict[tuple[str, float], np.ndarray], l2: float) -> dict[str, Any]:
    """Returns means over the encoders at tau .75, and the difference to the default on validation."""
    own, default = ([at_tau(one, logits[one.name, each], "val") for one in some] for each in (l2, L2))
    test = [at_tau(one, logits[one.name, l2], "test") for one in some]
    apart = paired_difference(mean_of(own), mean_of(default), wide=True)
    criterion = [smoothed_criterion(one, logits[one.name, l2]) for one in some]
    return {
        "l2": l2,
        "validation": float(np.mean([one.value for one in own])),
        "less the default": apart.model_dump(),
        "smoothed criterion": float(np.mean(criterion)),
        "better than the default in": sum(a.value > b.value for a, b in zip(own, default, strict=True)),
        "test": float(np.mean([one.value for one in test])),
    }


def at_tau(saved: Saved, logits: np.ndarray, split: str) -> Measured:
    """Returns the balanced accuracy of a split's decisions at tau .75."""
    rows = saved.rows(split)
    labels, found = saved.labels[rows], logits[rows].astype(np.float64)
    decided = (found - TAU * prior_of(saved)).argmax(1)
    cases = Cases(np.arange(len(labels)), labels, saved.groups[rows], softmax(found), decided)
    return measure_all(cases).whole("bacc")


def smoothed_criterion(saved: Saved, logits: np.ndarray) -> float:
    """Returns the criterion of docs/tau.md at tau .75 on the validation images."""
    val, labels = logits[saved.rows("val")], saved.labels[saved.rows("val")]
    return margin_score(val - TAU * prior_of(saved), labels, width_of(val))


if __name__ == "__main__":
    sys.exit(main())
