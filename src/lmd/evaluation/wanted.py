"""What may be asked of an evaluation besides its metrics, as it is given and as it is understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lmd.errors import DataError, SettingsError
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.source import Source
from lmd.evaluation.probability.start import Start, check_estimate, estimated, start_of
from lmd.evaluation.stated import WORDS, checked_shares, read_costs, read_shares, wanted_sensitivities

Prior = str | Path | Mapping[str, float]


@dataclass(frozen=True)
class Wanted:
    """A prior, sensitivities CLASS=0.95 and a file of costs, as a person gives them; nothing by default."""

    prior: Prior | None = None
    sensitivity: Sequence[str] | Mapping[str, float] = ()
    cost: Path | str | None = None

    def understood(self, classes: Sequence[str], split: str = "test") -> Understood:
        """Returns what is meant, for a model of these classes and the split that is measured.

        Raises:
            SettingsError, DataError: one line on what is wrong.
        """
        if self.sensitivity and split == "val":
            raise SettingsError(
                "--sensitivity chooses thresholds on validation: measure them on another split (--split test)"
            )
        prior = None if self.prior is None else stated_prior(self.prior, classes)
        costs = None if self.cost is None else read_costs(Path(self.cost), classes)
        name = "" if self.cost is None else Path(self.cost).name
        return Understood(prior, wanted_sensitivities(self.sensitivity, classes), costs, name)


NOTHING_WANTED = Wanted()


@dataclass(frozen=True)
class StatedPrior:
    """A prior by its name: train, uniform, estimate or that of a file; a file's shares [K] are known."""

    name: str
    shares: np.ndarray | None = None

    def check(self, source: Source) -> None:
        """Refuses a prior that cannot be had of a run, before anything is predicted.

        Raises:
            DataError: what validation lacks for it.
        """
        if self.estimates:
            check_estimate(source)
        else:
            start_of(source)

    @property
    def estimates(self) -> bool:
        """Whether its shares are to be estimated."""
        return self.name == "estimate" and self.shares is None

    def resolved(self, source: Source, probabilities: np.ndarray, clusters: np.ndarray) -> AtPrior:
        """Returns the shares for a model and some images, and where the shift to them starts.

        Raises:
            DataError: what validation lacks for it.
        """
        if self.estimates:
            found, start = estimated(source, probabilities, clusters)
            return AtPrior(self.name, found.values, found.estimates, start)
        classes = len(source.classes)
        known = {"train": source.training, "uniform": np.full(classes, 1 / classes)}
        shares = known[self.name] if self.shares is None else self.shares
        plain = [Estimate(value=float(share), low=None, high=None) for share in shares]
        return AtPrior(self.name, shares, plain, start_of(source))


@dataclass(frozen=True)
class AtPrior:
    """Shares [K] with their intervals, and where the shift to them starts."""

    name: str
    shares: np.ndarray
    estimates: list[Estimate]
    start: Start

    def probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns a model's probabilities [N, K] as they are at these shares."""
        return self.start.shifted(probabilities, self.shares)


@dataclass(frozen=True)
class Understood:
    """What was asked for, checked; `prior` and `costs` are None where they were not."""

    prior: StatedPrior | None = None
    sensitivities: Mapping[str, float] = field(default_factory=dict[str, float])
    costs: np.ndarray | None = None
    cost_file: str = ""

    def check(self, source: Source) -> None:
        """Refuses what cannot be had of a run, before anything is predicted.

        Raises:
            DataError: it needs validation images, or others than there are.
        """
        if self.sensitivities and isinstance(source.validation, str):
            raise DataError(f"--sensitivity chooses thresholds on validation, and {source.validation}")
        if self.prior is not None:
            self.prior.check(source)
        elif self.costs is not None:
            start_of(source)


def stated_prior(prior: Any, classes: Sequence[str]) -> StatedPrior:
    """Returns a prior that is given as a word, a file or a mapping of classes to shares.

    Raises:
        SettingsError: it is neither a word nor a file.
        DataError: the file does not state the shares of these classes.
    """
    if isinstance(prior, Mapping):
        return StatedPrior("stated", checked_shares("prior", prior, classes))
    if str(prior) in WORDS:
        return StatedPrior(str(prior))
    path = Path(prior)
    if not path.exists():
        raise SettingsError(
            f"--prior {prior}: must be {', '.join(WORDS)} or a file of shares, and there is no such file"
        )
    return StatedPrior(path.name, read_shares(path, classes))


def checked_prior(prior: Any, source: Source) -> StatedPrior:
    """Returns what `stated_prior` does, if the prior can be had of a run.

    Raises:
        SettingsError: it is neither a word nor a file.
        DataError: the file does not state the shares of these classes, or what validation lacks for it.
    """
    found = stated_prior(prior, source.classes)
    found.check(source)
    return found
