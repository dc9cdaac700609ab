"""Answers of a model become a folder of DICOM files: a report for each image, and a heat map if asked for.

Files are numbered in the order of the answers: a name in them would be a patient's. All are written into a
temporary folder that becomes the named one at the end, so that there is never half of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from lmd.data.decode.files import printable
from lmd.deployment.dicom.codes import Word, class_words
from lmd.deployment.dicom.content import Answer, Author, report_of
from lmd.deployment.dicom.documents import Place, heat_map_file, report_file
from lmd.deployment.dicom.origin import Origin, quiet_pydicom, read_origin
from lmd.deployment.dicom.refusals import refuse_existing, refuse_others
from lmd.errors import CheckpointError, DataError
from lmd.evaluation.predict import Model
from lmd.files import beside
from lmd.folds.average import AverageModel
from lmd.parallel import Steps, quiet
from lmd.seals import sha256_of

if TYPE_CHECKING:
    from pydicom import Dataset as Header

    from lmd.deployment.dicom.heat_maps import Looking


class Asked(NamedTuple):
    """What is asked for besides reports."""

    heat_map: bool = False
    codes: Path | str | None = None
    frame: int | None = None
    note: str = ""
    """what else is to be said of the answers, such as their prior"""


@dataclass
class _Series:
    """The series of one kind of files: one for each study, its files counted."""

    uids: dict[str, str] = field(default_factory=dict[str, str])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def next(self, study: str) -> Place:
        """Returns the place of the next file in a study."""
        from pydicom.uid import generate_uid

        uid = self.uids.setdefault(study, generate_uid(prefix=None))
        self.counts[study] = self.counts.get(study, 0) + 1
        return Place(uid, self.counts[study])


def write_reports(
    model: Model, answers: pd.DataFrame, out: Path, asked: Asked, progress: Steps = quiet
) -> list[Path]:
    """Writes the DICOM files of some answers into a new folder, and returns their paths.

    Raises:
        DataError: an image is no DICOM or does not say what it is, the folder is there, or a code is none.
        CheckpointError: the folder cannot be written.
    """
    refuse_existing(out)
    files = [Path(name) for name in answers["id"]]
    refuse_others(files)
    words = class_words(model.classes, asked.codes)
    origins = [read_origin(file, asked.frame) for file in files]
    work = _Work(model, asked, words, author_of(model, asked.note), _looking(model, asked))
    try:
        with beside(out) as temporary:
            temporary.mkdir()
            for number, (origin, row) in enumerate(zip(origins, answers.to_dict("records"), strict=True)):
                answer = Answer.of({str(key): value for key, value in row.items()}, model.classes)
                with quiet_pydicom():
                    work.write(temporary, number + 1, origin, answer)
                progress(number + 1, len(files))
            temporary.rename(out)
    except OSError as error:
        raise CheckpointError(f"cannot write {out}: {error.strerror or error}") from error
    return sorted(out.iterdir())


def author_of(model: Model, note: str = "") -> Author:
    """Returns how a report names a model."""
    members = model.members if isinstance(model, AverageModel) else (model,)
    hashes = [_hash_of(member) for member in members]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    card = model.card
    details = [
        f"encoder {card.encoder}, {card.preprocessing.size} pixels, crop {card.preprocessing.crop}",
        f"tau {card.outputs.tau:g}, temperature {card.outputs.temperature:g}",
    ]
    several = [f"mean of {len(members)} models"] if len(members) > 1 else []
    return Author(card.method, whole, [*details, *several, *([note] if note else [])])


def _hash_of(member: Model) -> str:
    """The SHA-256 of a model's weights; the card of an earlier version does not say it."""
    said = member.card.files.get("model.safetensors")
    assert member.folder is not None
    return said or sha256_of(member.folder.weights)


def _looking(model: Model, asked: Asked) -> Looking | None:
    if not asked.heat_map:
        return None
    from lmd.deployment.dicom.heat_maps import Looking

    return Looking(model)


@dataclass
class _Work:
    """What the files of all images are made with."""

    model: Model
    asked: Asked
    words: Mapping[str, Word]
    author: Author
    looking: Looking | None
    reports: _Series = field(default_factory=_Series)
    heat_maps: _Series = field(default_factory=_Series)

    def write(self, folder: Path, number: int, origin: Origin, answer: Answer) -> None:
        """Writes the files of an image."""
        study = origin.uids["StudyInstanceUID"]
        content = report_of(answer, origin, self.author, self.words)
        report = report_file(content, origin, self.author, self.reports.next(study))
        _save(report, folder / f"report-{number:04d}.dcm", origin)
        if self.looking is not None:
            shown = self.looking.at(origin, self.asked.frame, answer.decided)
            place = self.heat_maps.next(study)
            made = heat_map_file(shown.pixels, shown.words, origin, self.author, place, copied=shown.copied)
            _save(made, folder / f"heatmap-{number:04d}.dcm", origin)


def _save(file: Header, path: Path, origin: Origin) -> None:
    """Writes a file; what cannot be written of a patient is not quoted."""
    try:
        file.save_as(path, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:
        kind, name = type(error).__name__, printable(origin.path)
        raise DataError(f"image {name}: a tag of its patient or study cannot be written ({kind})") from None
