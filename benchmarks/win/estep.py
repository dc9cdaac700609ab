"""Does an E-step pay? Each hypothesis against J = 0 on the same encoder, on images that it has not seen.

    python -m benchmarks.win.estep --work runs/win --row lmd-plus --folds fold-1 fold-2 fold-3 --out FILE.json

The encoder and the classifier go through ICC's loop with J iterations. What differs is the E-step:

- paper: the cross entropy through the frozen classifier, with FDC, as in `lmd`;
- prior: the cross entropy of s + log pi: the classifier was made for equal shares, and the images are not so;
- shift: the same, of features moved to the centre as those of new images are: z + a_k (mean - z),
  a_k = c / sqrt(N_k);
- strong: statistics and E-step on the strong view;
- consistency: with RRL's relation between strong and clean view, images weighted to rare classes;
- hard: no gradient from images whose label has more than .95;
- affine: BatchNorm's scale and shift alone are trained.

Decisions are by the tau that the validation images choose; differences are paired over all test images.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.win.answers import tables_of
from benchmarks.win.rows import DOMAINS
from benchmarks.win.tables import SHOWN, Kept, measured, plain, points
from benchmarks.win.trainings import Training
from lmd.data.dataset.folds_folder import Folds, read_folds
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set
from lmd.data.feed.views import seeded_view
from lmd.errors import SettingsError
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.predict import load_model
from lmd.losses.distance import ClassMetric
from lmd.losses.prior import log_prior
from lmd.losses.relation import channel_consistency, sample_consistency
from lmd.models.inference import encode
from lmd.models.network import Network, Output
from lmd.run import read_stage1
from lmd.runtime import Runtime
from lmd.settings import CommonSettings, Optimisation
from lmd.stages.base import StageContext
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.e_step import EStep, EStepSettings
from lmd.stages.calibration.m_step import MStepSettings, build_m_step
from lmd.stages.calibration.statistics import Statistics, StatisticsSettings
from lmd.stages.optimisation import build_optimiser

SHIFT = 1.5  # c: a class of 20 images is moved a third of the way, one of 5,000 images 2%.
WEIGHT, SURE = 3.0, 0.95


class Prior(EStep):
    """The cross entropy of s + log pi."""

    def loss(self, output: Output, labels: Tensor, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Returns it as the objective."""
        loss = F.cross_entropy(output.logits + self._shares(), labels)
        return {"expect": loss}

    def _shares(self) -> Tensor:
        return log_prior(torch.from_numpy(self.context.train.counts)).float()


class Shifted(Prior):
    """Features moved to the centre, the more the rarer their class."""

    def loss(self, output: Output, labels: Tensor, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Returns the cross entropy of the moved features."""
        part = SHIFT / torch.from_numpy(self.context.train.counts).float().clamp(min=1).sqrt()
        moved = output.features + part.clamp(max=0.5)[labels, None] * (
            output.features.detach().mean(0) - output.features
        )
        return super().loss(Output(moved, self.context.network.classifier(moved)), labels, metric)


class Consistent(Prior):
    """RRL's relation between the two views of a batch, images weighted to rare classes."""

    def _train_step(self, metric: ClassMetric | None, now: Any) -> dict[str, Tensor]:
        network, strong = (
            self.context.network,
            seeded_view("strong", now["images"], now["index"], now["seed"], self.context.network.scale),
        )
        clean = seeded_view("clean", now["images"], now["index"], now["seed"], network.scale)
        with self.context.runtime.autocast():
            with torch.no_grad():
                target = network(clean)
            output = network(strong)
        terms = self.loss(Output(output.features.float(), output.logits.float()), now["labels"], metric)
        weight = torch.from_numpy(self.context.train.counts).float()[now["labels"]] ** -0.5
        weight = (weight / weight.mean())[:, None].sqrt()
        pair = output.features.float() * weight, target.features.float() * weight
        relation = sample_consistency(*pair, "row_l2") + channel_consistency(*pair, "row_l2")
        self.descend(terms["expect"] + WEIGHT * relation)
        return terms


class Hard(Prior):
    """Only images that the network is not sure of."""

    def loss(self, output: Output, labels: Tensor, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Returns the cross entropy of those, over all of the batch."""
        each = F.cross_entropy(output.logits + self._shares(), labels, reduction="none")
        return {"expect": (each * (each > -np.log(SURE))).mean()}


class Affine(Prior):
    """BatchNorm's scale and shift alone."""

    def prepare(self, context: StageContext) -> None:
        """Makes an optimiser of these."""
        self.context = context
        layers = [part for part in context.network.encoder.modules() if isinstance(part, _BatchNorm)]
        self.optimiser = build_optimiser(torch.nn.ModuleList(layers), self.settings.optimisation, self.common)


class StrongStatistics(Statistics):
    """The class Gaussians of strong views."""

    def _estimate(self, rows: np.ndarray, weights: Tensor | None) -> Any:
        train, network = self.context.train, self.context.network
        index = torch.from_numpy(rows)
        strong = seeded_view("strong", train.pixels[index], index, 1, network.scale)
        mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in network.scale)
        pixels = ((strong * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
        images = ImageSet(pixels, train.labels[index], train.num_classes)
        whole, self.context = self.context, _with(self.context, images)
        try:
            return super()._estimate(np.arange(len(rows)), weights)
        finally:
            self.context = whole


def _with(context: StageContext, images: ImageSet) -> StageContext:
    return StageContext(context.network, images, context.runtime, context.on_step, context.val, context.offer)


HYPOTHESES: dict[str, tuple[type[EStep], dict[str, Any], type[Statistics]]] = {
    "paper": (EStep, {}, Statistics),
    "prior": (Prior, {}, Statistics),
    "shift": (Shifted, {}, Statistics),
    "strong": (Prior, {"view": "strong"}, StrongStatistics),
    "consistency": (Consistent, {}, Statistics),
    "hard": (Hard, {}, Statistics),
    "affine": (Affine, {}, Statistics),
}


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--domain", choices=list(DOMAINS), default="isic")
    parser.add_argument("--row", default="lmd-plus")
    parser.add_argument("--folds", nargs="+", required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 1e-3])
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file; logits are kept beside it")
    options = parser.parse_args()
    folds = read_folds(options.work / "data" / DOMAINS[options.domain].data)
    names = [("J=0", 0.0)] + [(name, rate) for name in HYPOTHESES for rate in options.rates]
    answers = {
        f"{name} {rate:g}": [fold_of(options, folds, fold, name, rate) for fold in options.folds]
        for name, rate in names
    }
    found = report(folds, options.folds, answers)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def fold_of(
    options: argparse.Namespace, folds: Folds, fold: str, name: str, rate: float
) -> dict[str, np.ndarray]:
    """The logits of validation and test images of one fold under one hypothesis."""
    kept = options.out.with_suffix("") / f"{fold}-{name}-{rate:g}.npz"
    if kept.exists():
        return dict(np.load(kept))
    run = Training(options.work, options.domain, options.row, fold, 42).out
    model, dataset = load_model(run), folds.datasets[fold]
    network = copy.deepcopy(model.network)
    settings = CommonSettings(
        size=model.card.preprocessing.size, crop=model.card.preprocessing.crop, batch=64, last_batch="even"
    )
    _, weights = read_stage1(run, settings)
    network.load_state_dict(weights)
    images = {split: images_of(dataset, split, settings) for split in ("train", "val", "test")}
    try:
        logits = calibrated(network, images, settings, name, rate, options.iterations, model.runtime)
    except SettingsError as error:  # A loss that is no number any more: a result, too.
        print(fold, name, rate, error, flush=True)
        logits = {}
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, **logits)
    print(fold, name, rate, flush=True)
    return logits


def images_of(dataset: Dataset, split: str, settings: CommonSettings) -> ImageSet:
    """The images of a split, in memory."""
    found = image_set(dataset, split, open_cache(dataset, settings.size, settings.crop))
    return ImageSet(torch.as_tensor(np.array(found.pixels[:])), found.labels, found.num_classes)


def calibrated(
    network: Network,
    images: dict[str, ImageSet],
    settings: CommonSettings,
    name: str,
    rate: float,
    iterations: int,
    runtime: Runtime,
) -> dict[str, np.ndarray]:
    """ICC's loop, and the logits of the held-out images at its end."""
    kind, changes, counted = HYPOTHESES.get(name, (EStep, {}, Statistics))
    statistics = counted(settings, StatisticsSettings(sampling="uniform", decay=0.0), keep_features=False)
    m_step = build_m_step(settings, MStepSettings(solver="exact"), statistics, real_features=False)
    rates = Optimisation(lr=rate or 1.0, weight_decay=1e-4)
    e_step = kind(settings, EStepSettings(optimisation=rates, **changes), iterations if rate else 0)
    loop = Calibration(settings, statistics, m_step, e_step)
    loop.prepare(StageContext(network, images["train"], runtime, lambda done, total: None))
    for j in range(loop.epochs):
        loop.run_epoch(j)
    return {
        split: encode(network, images[split], runtime).logits.cpu().numpy().astype(np.float16)
        for split in ("val", "test")
    }


def report(folds: Folds, names: list[str], answers: dict[str, list[dict[str, np.ndarray]]]) -> dict[str, Any]:
    """Each hypothesis and its difference from J = 0."""
    tested, validated, counts = tables_of(folds)
    kept, found = Kept(tested, validated, counts[names]), {}
    results = {name: measured(kept, keyed(names, logits)) for name, logits in answers.items() if all(logits)}
    for name in answers:
        if name not in results:
            print(f"{name}: diverged")
            found[name] = "diverged"
    for name, one in results.items():
        gaps = {metric: paired_difference(one[metric], results["J=0 0"][metric]) for metric in SHOWN}
        found[name] = {
            metric: {"value": one[metric].value, "less J=0": plain(gap)} for metric, gap in gaps.items()
        }
        told = ", ".join(f"{metric} {points(plain(gap))}" for metric, gap in gaps.items())
        print(f"{name}: {one['bacc'].value:.3f}; {told}")
    return found


def keyed(names: list[str], logits: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The logits of some folds by fold and split."""
    return {
        f"{name} {split}": one[split]
        for name, one in zip(names, logits, strict=True)
        for split in ("val", "test")
    }


if __name__ == "__main__":
    main()
