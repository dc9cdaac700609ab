"""The content of a report: a measurement report by the standard's template TID 1500.

    observer: this program and its model
    procedure reported: an imaging procedure
    imaging measurements
      group "decision": the class, research use, the prediction set, how unlike anything seen the image is
      group of each class: the class as the finding, its probability, and the decision's where it differs

Each group refers to the image and names the algorithm: method, version, the model's hash, tau, temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    )

MAKER = "lmd"
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
        from pydicom.uid import generate_uid

        return generate_uid(prefix=None, entropy_srcs=[MAKER, self.sha256])


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

    groups = [_decision(answer, origin, author, words)]
    groups += [_finding(name, answer, origin, author, words[name]) for name in answer.probabilities]
    return MeasurementReport(
        observation_context=_observer(author),
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=groups,
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
    label: str,
    origin: Origin,
    author: Author,
    finding: Word | None,
    measurements: Sequence[Measurement],
    evaluations: Sequence[QualitativeEvaluation] = (),
) -> MeasurementsAndQualitativeEvaluations:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from pydicom.uid import generate_uid

    image = SourceImageForMeasurementGroup(
        referenced_sop_class_uid=origin.uids["SOPClassUID"],
        referenced_sop_instance_uid=origin.uids["SOPInstanceUID"],
        referenced_frame_numbers=None if origin.frame is None else [origin.frame],
    )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=generate_uid(prefix=None), identifier=label),
        source_images=[image],
        algorithm_id=_algorithm(author),
        finding_type=None if finding is None else _coded(finding),
        measurements=list(measurements),
        qualitative_evaluations=list(evaluations),
    )


def _decision(
    answer: Answer, origin: Origin, author: Author, words: Mapping[str, Word]
) -> MeasurementsAndQualitativeEvaluations:
    """The group of what was decided, and of what bounds the use of it."""
    pairs = [(codes.DECIDED, words[answer.decided]), (codes.USE, codes.RESEARCH)]
    pairs += [(codes.SET, words[name]) for name in answer.inside]
    unlike = [] if answer.unlike is None else [_measured(codes.UNLIKE, answer.unlike)]
    evaluations = [_evaluation(*pair) for pair in pairs]
    return _group("decision", origin, author, None, unlike, evaluations)


def _finding(
    name: str, answer: Answer, origin: Origin, author: Author, word: Word
) -> MeasurementsAndQualitativeEvaluations:
    """The group of a class with its probabilities."""
    numbers = [_measured(codes.PROBABILITY, answer.probabilities[name])]
    if answer.decisions is not None:
        numbers.append(_measured(codes.DECISION, answer.decisions[name]))
    return _group(codes.class_word(name).value, origin, author, word, numbers)


def _evaluation(name: Word, value: Word) -> QualitativeEvaluation:
    from highdicom.sr import QualitativeEvaluation

    return QualitativeEvaluation(_coded(name), _coded(value))


def _measured(name: Word, value: float) -> Measurement:
    from highdicom.sr import CodedConcept, Measurement

    unit = CodedConcept("1", "UCUM", "no units")
    return Measurement(name=_coded(name), value=float(f"{value:.{_DIGITS}g}"), unit=unit)
