"""What the columns of a table are, by their names: image, label, split, and whom an image belongs to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from lmd.errors import DataError, suggest

Level = Literal["patient", "case", "study", "series", "lesion", "group"]
LEVELS: tuple[Level, ...] = get_args(Level)
_LEVEL_WORDS: dict[Level, str] = {
    "patient": "patient patients pat pt subject subj subjid usubjid participant person proband individual "
    "donor client volunteer mrn patientin patienten paciente paziente pasien patiente pacient animal dog "
    "患者 病人 환자",
    "case": "case fall",
    "study": "study exam examination visit encounter admission accession session procedure video "
    "studyinstance",
    "series": "series seriesinstance slide wsi smear specimen biopsy block volume stack scan sample",
    "lesion": "lesion nodule tumor tumour polyp mole naevus nevus",
    "group": "group",
}
_LEVEL_OF_WORD = {word: level for level, words in _LEVEL_WORDS.items() for word in words.split()}
# Names without a word of a level that mean a person all the same.
_PERSON_NAMES = frozenset(
    "mrno pid ptid patid pnr hn nhsnumber nhsno hospitalnumber hospitalno hospitalid medicalrecordnumber "
    "medicalrecordno medicalrecord recordnumber recordid personalid personnumber nationalid ssn cpr bsn "
    "uhid emr emrid ehrid empi mpi".split()
)
_ID_WORDS = frozenset(
    "id ids uid uuid guid identifier ident code key hash index idx pseudonym pseudo token instance anon "
    "anonymized anonymised anonymous anonid deid deidentified hashed new old original internal external the "
    "of "
    "unique barcode submitter 番号".split()
)
_NUMBER_WORDS = frozenset("no nr num number nummer numero número n # name".split())
# Of these levels a number or a name is an id; elsewhere it counts within a patient, or names a disease.
_NUMBERED = ("patient", "case")
_BARE = frozenset(
    "patient patients subject subj subjid usubjid participant person pat mrn case study lesion group".split()
)
# Words that make a name one of a property and not of a person: "patient age".
_ABOUT = frozenset(
    "age sex gender weight height size position orientation race ethnicity birth dob date time year month "
    "history smoker smoking status type count location site side laterality diagnosis comment comments notes "
    "note bmi insurance country region skin phototype ethnic zip city state status hospital department "
    "centre center device phone email followup duration death survival outcome consent per total has is "
    "was alive mean num images".split()
)
_GENERIC = frozenset("id uid code key identifier nr number no name".split())

IMAGES = (
    "image file filename path filepath imagepath imagefile imagefilename imagename imageid imageindex "
    "imageidx imgid img imgpath imgname imgfile filenames images fname picture picturepath photo photopath "
    "photograph dicompath dicomfile dicom dicomid sopinstanceuid slidefile isicid isic idcode imagecode "
    "filenameimage imagefilepath relativepath relpath fullpath localpath url imageurl id uid"
).split()
LABELS = (
    "label class diagnosis dx target y category classname labelname labels classes groundtruth gt classlabel"
).split()
_MAYBE_LABELS = (
    "findinglabels finding findings pathology histology disease condition grade level severity diagnosisname "
    "diagnoses histopathology classid labelid result outcome lesiontype tumortype benignmalignant dxcode "
    "celltype"
).split()


def tokens(name: str) -> list[str]:
    """Returns the words of a column's name, however it is written.

    >>> tokens("PatientID"), tokens("patient_id"), tokens("Lesion-Id (new)")
    (['patient', 'id'], ['patient', 'id'], ['lesion', 'id', 'new'])
    """
    plain = unicodedata.normalize("NFKC", name)
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return re.findall(r"[^\W\d_]+|\d+|#", parted.casefold())


def plain(name: str) -> str:
    """Returns a column's name without case, spaces and separators.

    >>> plain("Image Index"), plain("image_index")
    ('imageindex', 'imageindex')
    """
    return "".join(tokens(name))


def level_of(name: str) -> Level | None:
    """Returns whom the ids of a column name: a level of `LEVELS`, the coarsest first, or None.

    >>> [level_of(name) for name in ("Patient ID", "patientid", "MRN", "lesion id", "Patient Age", "visit")]
    ['patient', 'patient', 'patient', 'lesion', None, None]
    """
    words = tokens(name)
    whole = "".join(words)
    if whole in _PERSON_NAMES:
        return "patient"
    words = words if len(words) > 1 else _parted(whole)
    levels = [_LEVEL_OF_WORD[word] for word in words if word in _LEVEL_OF_WORD]
    if not levels or levels in (["patient", "group"], ["group", "patient"]):
        return None  # A "patient group" is an arm of a trial.
    level: Level = max((level for level in levels if level != "group"), key=LEVELS.index, default="group")
    rest = [word for word in words if word not in _LEVEL_OF_WORD]
    numbered = (level in _NUMBERED and "of" not in words) or "accession" in words
    if not all(word in _ID_WORDS or (numbered and word in _NUMBER_WORDS) for word in rest):
        return None
    return level if rest or whole in _BARE or level == "patient" else None


def _parted(whole: str) -> list[str]:
    """A name in one word, such as "patientid", as a word of a level and the rest."""
    ends = _ID_WORDS | _NUMBER_WORDS
    for word in sorted(_LEVEL_OF_WORD, key=len, reverse=True):
        for rest, parts in ((whole.removeprefix(word), [word]), (whole.removesuffix(word), [word])):
            if rest in ends and rest != whole:
                return [*parts, rest]
    return [whole]


def suspects_a_person(name: str) -> bool:
    """Whether a column may hold persons though its name is no usual one: "pat_initials", "ID", "surname".

    >>> [suspects_a_person(name) for name in ("patient_surname", "id", "Patient Age", "site")]
    [True, True, False, False]
    """
    words = tokens(name)
    if set(words) & _ABOUT:
        return False
    people = {*_LEVEL_WORDS["patient"].split(), "surname", "initials", "firstname", "lastname", "forename"}
    joined = any(word.startswith(person) for word in words for person in people if len(person) > 4)
    return bool(set(words) & people) or joined or plain(name) in _GENERIC


def is_named(raw: Iterable[str], named: str, path: object) -> str:
    """Returns the column that a user named.

    Raises:
        DataError: there is none of that name.
    """
    names = list(raw)
    if named not in names:
        raise DataError(f"{path} has no column '{named}'{suggest(named, names)}")
    return named


def image_column(names: Sequence[str]) -> list[str]:
    """Returns the columns that may name the image; the first kind in the order of `IMAGES` wins."""
    for guess in IMAGES:
        found = [name for name in names if plain(name) == guess]
        if found:
            return found
    return []


def label_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns that may be the label: those of a usual name, or else of a possible one."""
    usual = [name for name in names if plain(name) in LABELS]
    return usual or [name for name in names if plain(name) in _MAYBE_LABELS]


def columns_line(used: Mapping[str, Sequence[str]]) -> str:
    """Returns which columns were taken for what, in words.

    >>> columns_line({"image": ["file"], "label": ["MEL", "NV"]})
    "columns: image 'file', label 'MEL' 'NV'"
    """
    words = (f"{kind} {' '.join(repr(name) for name in names[:8])}" for kind, names in used.items())
    return f"columns: {', '.join(words)}"
