"""FS, Flexible Sampling (reconstruction): begin with prototypical images, query what is difficult.

Ju et al.: "Flexible sampling for long-tailed skin lesion classification", MICCAI 2022, arXiv 2204.03161.
The paper fixes the structure, not the constants:

    anchors       the images nearest to their class's mean feature; the active set A at first
    warm-up       class-balanced batches of the anchors
    difficulty    d_k = 1 - accuracy of class k on validation,    q_k = d_k / sum_j d_j
    query         now and then Q images join A, Q q_k of class k, the most disputed first (BALD)
    sampling      p(i) = q_{y_i} / |A_{y_i}| for i in A

BALD is the mutual information of label and weights, over passes with dropout before the classifier.
`variant: flexrs` is another reading, by the authors' benchmark MONICA: all images from the start, each
drawn in proportion to 1 / accuracy of its class.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lmd.errors import SettingsError
from lmd.losses.classification import cross_entropy
from lmd.losses.disagreement import disagreement
from lmd.models.inference import encode
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Count, Fraction, budgets
from lmd.stages.base import Stage, StageContext
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.optimisation import Losses

PAPER = "Ju et al., MICCAI 2022, arXiv 2204.03161"
STATUS = "reconstruction"
BUDGETS = budgets(smoke={"stage1": {"query_every": 1}}, short={"stage1": {"query_every": 2}})

Difficulty = Literal["1-acc", "1/acc", "loss"]


class FlexibleSettings(CrossEntropySettings):
    """The one stage: how the active set begins and grows."""

    sampling: Literal["instance"] = "instance"  # Its place is taken by the curriculum.
    variant: Literal["curriculum", "flexrs"] = "curriculum"
    anchor_share: Fraction = 0.1
    anchor_minimum: Count = 10
    warmup: Fraction = 0.3  # of the epochs
    query_every: Count = 10  # epochs
    difficulty: Difficulty = "1-acc"
    instance: Literal["bald", "random"] = "bald"
    passes: Annotated[int, Field(ge=2)] = 10
    dropout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2


class Settings(CommonSettings):
    """Flexible Sampling's settings."""

    stage1: FlexibleSettings = FlexibleSettings()


class FlexibleSampling(CrossEntropy):
    """Cross entropy on an active set of images that grows where validation says it should."""

    def __init__(self, common: CommonSettings, stage: FlexibleSettings) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage = stage
        self.active: Tensor | None = None  # [N]; None before the first epoch
        self.shares = torch.empty(0)  # q, [K]

    def prepare(self, context: StageContext) -> None:
        """Takes the network over.

        Raises:
            SettingsError: there are no validation images to measure difficulty on.
        """
        if context.val is None:
            raise SettingsError(
                "fs measures how difficult a class is on validation images: this data set has none"
            )
        super().prepare(context)

    def run_epoch(self, epoch: int) -> Losses:
        """Lets the active set grow where it is time, and trains on it."""
        if self.active is None:
            self.active, self.shares = self._start()
        if self.stage.variant == "flexrs":
            self.shares = self.shares if epoch == 0 else self._flexible_shares()
        elif epoch in query_epochs(self.epochs, self.stage):
            self._query(epoch)
        return {**super().run_epoch(epoch), "active": float(self.active.double().mean())}

    def loss(self, views: dict[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy, with dropout on the features where BALD will ask for it."""
        (images,) = views.values()
        with self.context.runtime.autocast():
            output = self.network(images)
            logits = output.logits
            if self._uses_dropout:
                logits = self.network.classifier(F.dropout(output.features, self.stage.dropout))
        loss = cross_entropy(logits.float(), labels)
        return {"total": loss, "cross_entropy": loss}

    @property
    def _uses_dropout(self) -> bool:
        return self.stage.variant == "curriculum" and self.stage.instance == "bald"

    def order(self, epoch: int) -> np.ndarray:
        """Returns as many draws as there are images, p(i) = q_{y_i} / |A_{y_i}| in the active set."""
        assert self.active is not None
        runtime, labels = self.context.runtime, self.context.train.labels
        weight = image_shares(self.active, labels, self.shares).numpy()
        seed = derive_seed(self.common.seed, self.name, "draws", epoch)
        draws = len(labels) + -len(labels) % runtime.world
        drawn = np.random.default_rng(seed).choice(len(labels), draws, p=weight / weight.sum())
        return drawn[runtime.rank :: runtime.world].astype(np.int64)

    def _start(self) -> tuple[Tensor, Tensor]:
        """Anchors and equal shares; for flexrs all images, each as likely as any."""
        train = self.context.train
        if self.stage.variant == "flexrs":
            shares = torch.from_numpy(train.counts).double()
            return torch.ones(len(train.labels), dtype=torch.bool), shares / shares.sum()
        features = encode(self.network, train, self.context.runtime).features.cpu()
        active = anchors(features, train.labels, self.stage.anchor_share, self.stage.anchor_minimum)
        return active, torch.full((train.num_classes,), 1 / train.num_classes, dtype=torch.float64)

    def _flexible_shares(self) -> Tensor:
        """MONICA weighs an image by 1 / accuracy of its class, not divided by n_k."""
        weight = torch.from_numpy(self.context.train.counts).double() * self._difficulty("1/acc")
        return weight / weight.sum()

    def _difficulty(self, kind: Difficulty) -> Tensor:
        val = self.context.val
        assert val is not None
        logits = encode(self.network, val, self.context.runtime).logits.cpu()
        return class_difficulty(logits, val.labels, kind)

    def _query(self, epoch: int) -> None:
        """Moves this round's part of the pool into the active set."""
        assert self.active is not None
        labels = self.context.train.labels
        difficulty = self._difficulty(self.stage.difficulty)
        self.shares = difficulty / difficulty.sum()
        pool = ~self.active
        rounds = [later for later in query_epochs(self.epochs, self.stage) if later >= epoch]
        number = -(-int(pool.sum()) // len(rounds))
        available = torch.bincount(labels[pool], minlength=len(self.shares)).numpy()
        rows = pool.nonzero().squeeze(1)
        chosen = best_of_classes(self._scores(rows, epoch), labels[rows],
                                 quotas(number, self.shares.numpy(), available))  # fmt: skip
        self.active = self.active.index_fill(0, rows[chosen], True)

    def _scores(self, rows: Tensor, epoch: int) -> Tensor:
        """How much each image of the pool is wanted."""
        seed = derive_seed(self.common.seed, self.name, "query", epoch)
        generator = torch.Generator().manual_seed(seed)
        if self.stage.instance == "random" or len(rows) == 0:
            return torch.rand(len(rows), generator=generator)
        features = encode(self.network, self.context.train, self.context.runtime, rows.numpy()).features
        kept = 1 - self.stage.dropout
        with torch.no_grad():
            posteriors: list[Tensor] = []
            for _ in range(self.stage.passes):
                mask = (torch.rand(features.shape, generator=generator) < kept).to(features)
                posteriors.append(self.network.classifier(features * mask / kept).softmax(1))
        return disagreement(torch.stack(posteriors)).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Returns the active set and the shares beside the optimiser's state."""
        return {**super().state_dict(), "active": self.active, "shares": self.shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.active, self.shares = state["active"], state["shares"]


def query_epochs(epochs: int, stage: FlexibleSettings) -> list[int]:
    """Returns the epochs that begin with a query: the one after the warm-up, and every few after that.

    >>> query_epochs(100, FlexibleSettings())
    [30, 40, 50, 60, 70, 80, 90]
    """
    return list(range(max(1, round(stage.warmup * epochs)), epochs, stage.query_every))


def anchors(features: Tensor, labels: Tensor, share: float, minimum: int) -> Tensor:
    """Returns which images [N] are nearest to their class's mean feature, by the cosine.

    Of a class of n images `share` * n are taken, at least `minimum`, and all where there are fewer.

    >>> anchors(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 0]), 0.5, 1).tolist()
    [True, True, False]
    """
    scores = torch.empty(len(labels))
    for label in labels.unique():
        mine = labels == label
        prototype = features[mine].mean(0, keepdim=True)
        scores[mine] = F.cosine_similarity(features[mine], prototype).to(scores)
    counts = torch.bincount(labels).numpy()
    wanted = np.minimum(counts, np.maximum(np.ceil(share * counts), minimum)).astype(np.int64)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[best_of_classes(scores, labels, wanted)] = True
    return chosen


def best_of_classes(scores: Tensor, labels: Tensor, wanted: np.ndarray) -> Tensor:
    """Returns the positions of the images of highest score, as many of each class as are wanted.

    >>> best_of_classes(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0, 0, 1]), np.array([1, 1])).tolist()
    [1, 2]
    """
    found = [torch.zeros(0, dtype=torch.int64)]
    for label, number in enumerate(wanted):
        mine = (labels == label).nonzero().squeeze(1)
        ranked = scores[mine].argsort(descending=True, stable=True)
        found.append(mine[ranked[: int(number)]])
    return torch.cat(found)


def quotas(number: int, shares: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Returns how many images of each class to take: in proportion to the shares, as far as there are any.

    What a class lacks the others give, in the same proportion, until the number is reached.

    >>> quotas(10, np.array([0.5, 0.5]), np.array([100, 2])).tolist()
    [8, 2]
    """
    taken = np.zeros(len(shares), dtype=np.int64)
    left = min(number, int(available.sum()))
    while left > 0:
        room = available - taken
        wish = shares * (room > 0)
        wish = left * wish / wish.sum()
        given = np.minimum(np.floor(wish).astype(np.int64), room)
        if given.sum() == 0:
            given[int(wish.argmax())] = 1
        taken += given
        left -= int(given.sum())
    return taken


def class_difficulty(logits: Tensor, labels: Tensor, kind: Difficulty) -> Tensor:
    """Returns how difficult each class is [K], in double: by its accuracy or its mean cross entropy.

    The accuracy is smoothed, (hits + 1) / (images + 2), so that it is neither 0 nor 1; a class without
    images has 1/2, or the mean loss of the others.

    >>> class_difficulty(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), "1-acc").tolist()
    [0.33333333333333337, 0.6666666666666667]
    """
    classes = logits.shape[1]
    counts = torch.bincount(labels, minlength=classes).double()
    if kind == "loss":
        losses = F.cross_entropy(logits.double(), labels, reduction="none")
        sums = torch.bincount(labels, losses, classes)
        means = torch.where(counts > 0, sums / counts.clamp(min=1), losses.mean())
        return means.clamp(min=1e-12)  # A class that is learned perfectly still has a share.
    hits = torch.bincount(labels, (logits.argmax(1) == labels).double(), classes)
    accuracy = (hits + 1) / (counts + 2)
    return 1 - accuracy if kind == "1-acc" else 1 / accuracy


def image_shares(active: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """Returns p(i) = q_{y_i} / |A_{y_i}| for the images of the active set, and 0 for the others.

    >>> active, labels = torch.tensor([True, True, False]), torch.tensor([0, 1, 1])
    >>> image_shares(active, labels, torch.tensor([0.25, 0.75])).tolist()
    [0.25, 0.75, 0.0]
    """
    counts = torch.bincount(labels[active], minlength=len(shares)).clamp(min=1)
    return (shares / counts)[labels] * active


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [FlexibleSampling(settings, settings.stage1)]
