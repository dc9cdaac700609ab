"""What a server says of its model: what it can be relied on for, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache

from lmd.deployment.serving.looks import Looks
from lmd.deployment.serving.options import Options
from lmd.deployment.serving.refusals import in_words_of_requests
from lmd.deployment.serving.schema import About, ClassAbout, Limits
from lmd.errors import LmdError
from lmd.evaluation.answers import told
from lmd.evaluation.predict import Model
from lmd.evaluation.probability.source import Source
from lmd.evaluation.probability.start import check_estimate, start_of
from lmd.evaluation.results import Evaluation, read_evaluations
from lmd.evaluation.set_answers import Promise, promise_of
from lmd.reporting.clinician import ClassWords, class_words, verdict
from lmd.reporting.page import result_notes, sentence
from lmd.reporting.report import main_first
from lmd.reporting.statistician import all_against_rest, cases_behind
from lmd.run import RunFolder
from lmd.version import __version__

RARE = 10  # Training images below which a class is called rare, whatever its band.


class Knowledge:
    """A model, and what is known of it; read once, when the server starts."""

    def __init__(self, model: Model, run: RunFolder) -> None:
        """Reads what validation and test images told.

        Raises:
            CheckpointError, DataError: a file of the run is damaged.
        """
        self.model, self.card = model, model.card
        self.source: Source = model.source
        self.promise: Callable[[float], Promise] = lru_cache(32)(self._promise)
        self._run = run
        self.evaluation = next(iter(main_first(read_evaluations(run.path)).values()), None)

    def _promise(self, level: float) -> Promise:
        return promise_of(self.source, self.card.bands, level)

    @cached_property
    def rare(self) -> list[str]:
        """The classes of the rarest band, and all of very few training images."""
        bands = list(self.card.bands.values())
        last = bands[-1] if len(bands) > 1 else []
        counts = zip(self.card.classes, self.card.training_counts, strict=True)
        return [name for name, count in counts if name in last or count < RARE]

    @cached_property
    def words(self) -> dict[str, ClassWords]:
        """Each class in words, where test images were measured."""
        result, counts = self.evaluation, self.card.training_counts
        if result is None:
            return {}
        against = all_against_rest(
            cases_behind(self._run.predictions(result.split, result.on), result), result
        )
        return {words.name: words for words in class_words(result, counts, against)}

    def about(self, looks: Looks, options: Options) -> About:
        """Returns all of it for whoever asks; no path, no group and no name of an image is in it."""
        card = self.card
        return About(
            title=f"{card.method} on {card.dataset.title}",
            version=__version__,
            phantom=card.dataset.source == "phantom",
            models=len(looks.networks),
            classes=[self._class(k) for k in range(len(card.classes))],
            verdict=_verdict(self.evaluation, card.training_counts),
            warnings=card.warnings,
            outputs=told(card),
            no_sets=_why_not(lambda: self.promise(0.9)),
            no_unlikeness=None if self.model.unlikeness else _no_unlikeness(looks),
            no_prior=_why_not(lambda: start_of(self.source)),
            no_estimate=_why_not(lambda: check_estimate(self.source)),
            maps=looks.map_words,
            nearest=looks.nearest_words,
            limits=Limits(
                bytes=options.most_bytes,
                pixels=options.most_pixels,
                files=options.max_files,
                seconds=options.timeout,
            ),
        )

    def _class(self, k: int) -> ClassAbout:
        name = self.card.classes[k]
        words = self.words.get(name)
        return ClassAbout(
            name=name,
            band=next((band for band, names in self.card.bands.items() if name in names), None),
            rare=name in self.rare,
            training_images=self.card.training_counts[k],
            level=None if words is None else words.level,
            lines=[] if words is None else words.lines,
        )


def _no_unlikeness(looks: Looks) -> str:
    several = "the mean of several models has no measure of how unlike anything seen an image is"
    return several if len(looks.networks) > 1 else "the run keeps nothing that tells how unlike an image is"


def _verdict(result: Evaluation | None, counts: list[int]) -> list[str]:
    if result is None:
        return []
    found = verdict(result, counts)
    return [found.head, *found.lines, *(f"{sentence(note)}." for note in result_notes(result))]


def _why_not(attempt: Callable[[], object]) -> str | None:
    """Why something cannot be had of a run; None where it can."""
    try:
        attempt()
    except LmdError as error:
        return in_words_of_requests(error)
    return None
