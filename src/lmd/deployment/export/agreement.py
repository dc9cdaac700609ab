"""Whether an export says what the network says: the largest difference of the probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmd.deployment.export.images import Sample
from lmd.deployment.export.onnx_file import Answering
from lmd.errors import CheckpointError
from lmd.evaluation.answers import decisions_of, ranking_of
from lmd.evaluation.outputs import logits_of
from lmd.evaluation.predict import Model
from lmd.model_card import ModelCard
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import Settings

TOLERANCE = 1e-4


class Agreement(Settings):
    """How far an export is from the network on some images."""

    images: str
    """what they are"""
    batches: list[int]
    """how many were answered at once"""
    p: float
    """largest difference of a probability for ranking"""
    d: float
    """largest difference of a probability for the decision"""
    precision: str
    """in which 'lmd predict' runs the network; the export computes in fp32"""
    of_predict: float
    """largest difference of a probability to those of 'lmd predict' in that precision"""

    def line(self) -> str:
        """Returns it in words."""
        batches = ", ".join(map(str, self.batches[:-1]))
        return (
            f"verified on {self.images}, in batches of {batches} and {self.batches[-1]}: the largest "
            f"difference to the network is {max(self.p, self.d):.1e}"
        )


@dataclass(frozen=True)
class Reference:
    """The trained network as it is, in fp32 and on the CPU: nothing that the export is made with."""

    card: ModelCard
    runtime: Runtime
    at_rest: Network


def reference_of(model: Model) -> Reference:
    """Returns the network that an export has to agree with."""
    return Reference(model.card, Runtime("fp32", "cpu"), model.network.cpu().eval())


Answers = tuple[np.ndarray, np.ndarray]


def answers_of(model: Model | Reference, sample: Sample) -> Answers:
    """Returns p and d [N, K] as `lmd predict` computes them."""
    p = ranking_of(logits_of(model, sample.pixels), model.card)
    return p, decisions_of(p, model.card)


def check_agreement(
    name: str, answer: Answering, wanted: Answers, of_predict: Answers, sample: Sample, card: ModelCard
) -> Agreement:
    """Returns how far an export is from the network.

    Raises:
        CheckpointError: farther than can be rounding.
    """
    parts = sample.parts()
    found = [answer(part) for part in parts]
    p, d = (np.concatenate([pair[place] for pair in found]) for place in (0, 1))
    of_p, of_d = _gap(p, wanted[0]), _gap(d, wanted[1])
    if not (of_p <= TOLERANCE and of_d <= TOLERANCE):  # Also where one of them is no number.
        raise CheckpointError(
            f"{name} differs from the network by {max(of_p, of_d):.2g} in a probability on {sample.told}; "
            f"{TOLERANCE:g} is allowed, so nothing was written: take another --format"
        )
    return Agreement(
        images=sample.told,
        batches=sorted({len(part) for part in parts}),
        p=of_p,
        d=of_d,
        precision=card.precision,
        of_predict=max(_gap(p, of_predict[0]), _gap(d, of_predict[1])),
    )


def _gap(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference; infinite where the answers cannot be compared."""
    gaps = np.abs(found.astype(np.float64) - wanted) if found.shape == wanted.shape else np.array(np.inf)
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0))
