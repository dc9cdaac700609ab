"""What tau does on the features of trained encoders: the table of docs/tau.md.

    python -m benchmarks.tau ISIC FEATURES/features-*.npz

ISIC is the dataset folder that the features are of: `lmd prepare isic2019 --root ISIC_2019 --allow-missing
--split lesion --out ISIC`. A file has `0_clean` times `0_clean_scale` [N, 512], in the order of the manifest,
and the classifier of stage 1, `W` and `b`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.evaluation.metrics import balanced_accuracy, macro_auc
from lmd.evaluation.probability.decisions import GRID, choose_tau, log_prior, softmax
from lmd.losses.covariance import shrink
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import class_statistics

RIDGE, L2, DRAWS, TAU = 0.01, 0.01, 1024, 0.75


def main() -> None:
    """Prints a line for each encoder and classifier."""
    parser = argparse.ArgumentParser(description="what tau does on features of trained encoders")
    parser.add_argument("data", type=Path, help="the dataset folder of the features")
    parser.add_argument("features", type=Path, nargs="+", help="features-<run>-<seed>.npz")
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    print("encoder, classifier: bacc at 0, at .75, smoothed (tau), plain (tau); recall of the largest; AUC")
    for file in options.features:
        for kind, logits in classifiers(dataset, file).items():
            print(f"{file.stem}, {kind}: {told(dataset, logits)}")


def classifiers(dataset: Dataset, file: Path) -> dict[str, np.ndarray]:
    """Returns the logits of all images by the classifier of stage 1, and by ICC's exact M-step."""
    with np.load(file) as saved:
        features = saved["0_clean"] * saved["0_clean_scale"]
        weight, bias = saved["W"], saved["b"]
    rows = rows_of(dataset, "train")
    labels = torch.from_numpy(dataset.labels("train"))
    gaussians = class_statistics(torch.from_numpy(features[rows]), labels, len(dataset.classes))
    draws = quasi_normal(len(dataset.classes) - 1, DRAWS, 0)
    objective = ExpectedCrossEntropy(shrink(gaussians, "ridge", RIDGE), draws, L2)
    found = minimise(objective, torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
    exact = features @ found.weight.numpy().T + found.bias.numpy()
    return {"stage 1": features @ weight.T + bias, "exact ICC": exact}


def rows_of(dataset: Dataset, split: str) -> np.ndarray:
    """Returns the places of a split's images in the manifest."""
    return np.flatnonzero(dataset.table["split"].to_numpy() == split)


def told(dataset: Dataset, logits: np.ndarray) -> str:
    """Returns what tau does to some logits [N, K], chosen on validation and measured on test."""
    prior = log_prior(dataset.counts("train"))
    val, test = logits[rows_of(dataset, "val")], logits[rows_of(dataset, "test")]
    of_val, of_test = dataset.labels("val"), dataset.labels("test")
    smoothed = choose_tau(val, of_val, prior)
    plain = max(GRID, key=lambda tau: balanced_accuracy(of_val, val - tau * prior))
    scores = [balanced_accuracy(of_test, test - tau * prior) for tau in (0, TAU, smoothed, plain)]
    largest = of_test == int(prior.argmax())
    recalls = [((test - tau * prior)[largest].argmax(1) == prior.argmax()).mean() for tau in (0, TAU)]
    areas = [macro_auc(of_test, softmax(test - tau * prior)) for tau in (0, TAU)]
    return (
        f"{scores[0]:.3f}, {scores[1]:.3f}, {scores[2]:.3f} ({smoothed:.2f}), {scores[3]:.3f} ({plain:.2f}); "
        f"{recalls[0]:.2f}, {recalls[1]:.2f}; {areas[0]:.3f}, {areas[1]:.3f}"
    )


if __name__ == "__main__":
    main()
