"""The content of a report: a measurement report by the standard's template TID 1500.

    observer: this program and its model
    procedure reported: an imaging procedure
    imaging measurements
      one group: the image, the algorithm (method, version, hash of the model, tau, temperature)
        probabilities: a number for each class, with the class as its modifier
        the class that is decided for, research use, and the prediction set where there is one

No class is called a finding: a probability of 0.02 would read as one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmd.deployment.dicom import codes
from lmd.deployment.dicom.codes import Word
from lmd.deployment.dicom.origin import Origin
from lmd.evaluation.set_answers import BETWEEN
from lmd.version import __version__

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        CodedConcept,
        Measurement,
        MeasurementReport,
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
    )

MAKER = "lmd"
_MODELS = uuid.UUID("8b6fd3f2-54b0-4d56-9d4c-2f3f27c6a1c5")  # The name space of UIDs of models.
_DIGITS = 6  # Of a probability; a number in DICOM has 16 characters at most.


@dataclass(frozen=True)
class Author:
    """The model that answers, as a report names it."""

    method: str
    sha256: str
    """of its weights; of a mean of several models, of their hashes"""
    details: Sequence[str]
    """what else the answers depend on, a text for each"""

    @property
    def uid(self) -> str:
        """A UID that all reports of this model share."""
        return f"2.25.{uuid.uuid5(_MODELS, self.sha256).int}"


@dataclass(frozen=True)
class Answer:
    """What the model says of an image: a row of its table of answers."""

    decided: str
    probabilities: Mapping[str, float]
    decisions: Mapping[str, float] | None
    """the probabilities shifted for the decision, where they differ"""
    inside: Sequence[str]
    """the classes of the prediction set, where there is one"""
    unlike: float | None

    @classmethod
    def of(cls, row: Mapping[str, object], classes: Sequence[str]) -> Answer:
        """Returns the answer that a row of the table holds."""
        decisions = _numbers(row, "d", classes) if f"d_{classes[0]}" in row else None
        unlike = row.get("unlike")
        inside = [name for name in str(row.get("set") or "").split(BETWEEN) if name in classes]
        seen = None if unlike is None else float(str(unlike))
        return cls(str(row["predicted"]), _numbers(row, "p", classes), decisions, inside, seen)


def _numbers(row: Mapping[str, object], kind: str, classes: Sequence[str]) -> dict[str, float]:
    return {name: float(str(row[f"{kind}_{name}"])) for name in classes}


def report_of(answer: Answer, origin: Origin, author: Author, words: Mapping[str, Word]) -> MeasurementReport:
    """Returns the content of a report on an image."""
    from highdicom.sr import CodedConcept, MeasurementReport

    return MeasurementReport(
        observation_context=_observer(author),
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[_group(answer, origin, author, words)],
    )


def _coded(word: Word) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(word.value, word.scheme, word.meaning)


def _observer(author: Author) -> ObservationContext:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes as standard

    device = DeviceObserverIdentifyingAttributes(
        uid=author.uid,
        name=f"{MAKER} {__version__}",
        manufacturer_name=MAKER,
        model_name=author.method,
        serial_number=author.sha256,
    )
    context = ObserverContext(observer_type=standard.DCM.Device, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=context)


def _algorithm(author: Author) -> AlgorithmIdentification:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(
        name=f"{MAKER}: {author.method}",
        version=__version__,
        parameters=[f"model sha256 {author.sha256}", *author.details, codes.STATEMENT],
    )


def _group(
    answer: Answer, origin: Origin, author: Author, words: Mapping[str, Word]
) -> MeasurementsAndQualitativeEvaluations:
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier
    from pydicom.uid import generate_uid

    pairs = [(codes.DECIDED, words[answer.decided]), (codes.USE, codes.RESEARCH)]
    pairs += [(codes.SET, words[name]) for name in answer.inside]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=generate_uid(prefix=None), identifier="answer"),
        source_images=[_image(origin)],
        algorithm_id=_algorithm(author),
        measurements=list(_numbers_told(answer, words)),
        qualitative_evaluations=[_evaluation(*pair) for pair in pairs],
    )


def _image(origin: Origin) -> SourceImageForMeasurementGroup:
    from highdicom.sr import SourceImageForMeasurementGroup

    return SourceImageForMeasurementGroup(
        referenced_sop_class_uid=origin.uids["SOPClassUID"],
        referenced_sop_instance_uid=origin.uids["SOPInstanceUID"],
        referenced_frame_numbers=None if origin.frame is None else [origin.frame],
    )


def _numbers_told(answer: Answer, words: Mapping[str, Word]) -> Iterator[Measurement]:
    """The probabilities of all classes, those of the decision where they differ, and the unlikeness."""
    for name, value in answer.probabilities.items():
        yield _measured(codes.PROBABILITY, value, words[name])
    for name, value in (answer.decisions or {}).items():
        yield _measured(codes.DECISION, value, words[name])
    if answer.unlike is not None:
        yield _measured(codes.UNLIKE, answer.unlike)


def _evaluation(name: Word, value: Word) -> QualitativeEvaluation:
    from highdicom.sr import QualitativeEvaluation

    return QualitativeEvaluation(_coded(name), _coded(value))


def _measured(name: Word, value: float, of: Word | None = None) -> Measurement:
    """A number; `of` is the class that it is of."""
    from highdicom.sr import (
        CodeContentItem,
        CodedConcept,
        ContentSequence,
        Measurement,
        RelationshipTypeValues,
    )

    unit = CodedConcept("1", "UCUM", "no units")
    made = Measurement(name=_coded(name), value=float(f"{value:.{_DIGITS}g}"), unit=unit)
    if of is not None:
        modifier = CodeContentItem(_coded(codes.CLASS), _coded(of), RelationshipTypeValues.HAS_CONCEPT_MOD)
        made[0].ContentSequence = ContentSequence([modifier])
    return made
