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
_PERSON_BARE = frozenset(
    "patient patients subject subjects subj subjid usubjid participant participants person pat mrn donor "
    "donors client "
    "proband individual volunteer".split()
)
# These alone may also name a flag, an arm or a cohort: their values have to look like ids.
_OTHER_BARE = frozenset(
    "case cases study lesion group animal dog exam encounter accession admission video slide specimen biopsy "
    "nodule "
    "smear wsi series session".split()
)
# Words that make a name one of a property and not of a person: "patient age".
_PROPERTIES = frozenset(
    "age sex gender weight height size position orientation race ethnicity ethnic birth dob date time year "
    "month history smoker smoking status type kind count diagnosis comment comments notes note bmi insurance "
    "skin phototype followup duration death survival outcome consent per total has is was alive mean images "
    "phone email "
    "image img file photo picture path slice frame scan page row version fold split label class".split()
)
_PLACES = frozenset(
    "location site side laterality country region zip city state hospital clinic department centre center "
    "device "
    "institution station room".split()
)
_STRONG_IDS = frozenset(
    "id ids uid uuid guid identifier code key hash pseudonym barcode mrn no nr number pid".split()
)
# Words of columns that may hold ids of anything; what counts within a person is none.
_ID_LIKE = frozenset(
    "id ids uid uuid guid identifier code key hash barcode pseudonym no nr num number nummer numero número "
    "record chart dossier folio file accession pid eid rid sid cid mrn hn ipp nhc nhs emr ehr empi "
    "uhid 号 番号 病历号 登録".split()
)
_COUNTERS = frozenset(
    "slice frame visit lesion image page row index sequence series fold version batch tile level".split()
)
_GENERIC = frozenset("id uid code key identifier nr number no name".split())
_PEOPLE = frozenset(
    "surname initials firstname lastname forename child mouse user owner member baby mother twin".split()
)


IMAGES = (
    "image file filename path filepath imagepath imagefile imagefilename imagename imageid imageindex "
    "imageidx imgid img imgpath imgname imgfile filenames images fname picture picturepath photo photopath "
    "photograph dicompath dicomfile dicom dicomid sopinstanceuid slidefile isicid isic idcode imagecode "
    "filenameimage imagefilepath relativepath relpath fullpath localpath md5hash md5 url imageurl id uid"
).split()
LABELS = (
    "label class diagnosis dx target y category classname labelname labels classes groundtruth gt classlabel "
    "diagnostic diagnose diagnosi diagnóstico diagnostico diagnostique klasse befund etichetta etiqueta 診断 "
    "诊断 标签 類別"
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
    if level == "patient" and set(words) & _STRONG_IDS and not set(words) & (_PROPERTIES | {"of"}):
        return level  # Whatever else stands there: "hospital patient ID (site)".
    numbered = (level in _NUMBERED and "of" not in words) or "accession" in words
    if not all(word in _ID_WORDS or (numbered and word in _NUMBER_WORDS) for word in rest):
        return None
    return level if rest or whole in _PERSON_BARE | _OTHER_BARE or level == "patient" else None


def is_doubtful(name: str) -> bool:
    """Whether a name alone does not say that its values are ids: "study" may be a cohort, "lesion" a flag."""
    return plain(name) in _OTHER_BARE


def _parted(whole: str) -> list[str]:
    """A name in one word, such as "patientid", as a word of a level and the rest."""
    ends = _ID_WORDS | _NUMBER_WORDS
    for word in sorted(_LEVEL_OF_WORD, key=len, reverse=True):
        for rest, parts in ((whole.removeprefix(word), [word]), (whole.removesuffix(word), [word])):
            if rest in ends and rest != whole:
                return [*parts, rest]
    return [whole]


def suspects_a_person(name: str) -> bool:
    """Whether a column may hold persons though its name is no usual one: "ID", "Chart No".

    >>> [suspects_a_person(name) for name in ("patient_surname", "hadm_id", "Patient Age", "slice_no")]
    [True, True, False, False]
    """
    words = set(tokens(name))
    if words & _PROPERTIES:
        return False
    people = {*_LEVEL_WORDS["patient"].split(), *_PEOPLE}
    joined = any(word.startswith(person) for word in words for person in people if len(person) > 4)
    if words & people or joined or plain(name) in _GENERIC:
        return True
    glued = any(len(word) > 3 and word.endswith(("pid", "mrn", "uid", "番号")) for word in words)
    return not words & _COUNTERS and (bool(words & _ID_LIKE) or glued)


def is_named(raw: Iterable[str], named: str, path: object) -> str:
    """Returns the column that a user named.

    Raises:
        DataError: there is none of that name.
    """
    names = list(raw)
    if named not in names:
        raise DataError(f"{path} has no column '{named}'{suggest(named, names)}")
    return named


def image_columns(names: Sequence[str]) -> list[list[str]]:
    """Returns the columns that may name the image, those of one kind together, in the order of `IMAGES`."""
    kinds = [[name for name in names if plain(name) == guess] for guess in IMAGES]
    return [kind for kind in kinds if kind]


def label_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns whose name is usual for the label; "y" beside an "x" is a place in the image."""
    found = [name for name in names if plain(name) in LABELS]
    beside_x = any(tokens(name)[-1:] == ["x"] for name in names)
    return [name for name in found if (name.strip().casefold() == "y" and not beside_x) or plain(name) != "y"]


def possible_label_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns whose name may be that of the label, where none has a usual one."""
    return [name for name in names if plain(name) in _MAYBE_LABELS]


def is_property(name: str) -> bool:
    """Whether a column tells of a person, a place or an id, and so is no label: "sex", "anatom_site"."""
    words = set(tokens(name))
    return bool(words & (_PROPERTIES | _PLACES | _STRONG_IDS - _NUMBER_WORDS)) or level_of(name) is not None


def columns_line(used: Mapping[str, Sequence[str]]) -> str:
    """Returns which columns were taken for what, in words.

    >>> columns_line({"image": ["file"], "label": ["MEL", "NV"]})
    "columns: image 'file', label 'MEL' 'NV'"
    """
    words = (f"{kind} {' '.join(repr(name) for name in names[:8])}" for kind, names in used.items())
    return f"columns: {', '.join(words)}"
