"""DICOM as hospitals have it: files are written with pydicom here, and shown as a viewer would show them."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_windowing, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from lmd.data.dataset.sources import folder
from lmd.data.decode import dicom, dicom_header, dicom_worker, files
from lmd.data.decode.cache import open_cache
from lmd.data.decode.images import decode
from lmd.errors import DataError, LmdError
from lmd.parallel import in_threads

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
SECRET = ("Zebulon^Quagmire", "ID-4711-SECRET", "19631122", "Saint Nowhere Hospital", "Dr^Whoever")


def header(pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> Dataset:
    """A data set of pixels [(frames,) H, W(, 3)], with a patient's data in it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRET[:3]
    dataset.InstitutionName, dataset.ReferringPhysicianName = SECRET[3:]
    colours = 3 if pixels.shape[-1] == 3 and photometric in ("RGB", "YBR_FULL") else 1
    spatial = pixels.shape[:-1] if colours == 3 else pixels.shape
    dataset.Rows, dataset.Columns = spatial[-2:]
    if len(spatial) == 3:
        dataset.NumberOfFrames = spatial[0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = colours, photometric
    if colours == 3:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def written(path: Path, dataset: Dataset) -> Path:
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def shown(path: Path, dataset: Dataset) -> list[list[int]]:
    """The grey values of a file as they are decoded."""
    pixels = decode(written(path / "x.dcm", dataset))
    assert pixels.dtype == np.uint8
    assert np.ptp(pixels, axis=2).max() == 0
    return pixels[..., 0].tolist()


def in_eight_bits(values: np.ndarray) -> list[list[int]]:
    """Values from 0 to 1, rounded half up."""
    return np.floor(values * 255 + 0.5).astype(int).tolist()


# Grey.


def test_eight_bits_are_shown_as_they_are(tmp_path: Path) -> None:
    pixels = np.array([[3, 77, 200]], np.uint8)
    assert shown(tmp_path, header(pixels)) == [[3, 77, 200]]
    assert shown(tmp_path, header(pixels, RescaleSlope=1, RescaleIntercept=0)) == [[3, 77, 200]]


def test_twelve_bits_without_a_window_are_stretched(tmp_path: Path) -> None:
    found = shown(tmp_path, header(RAMP * 100 + 500, BitsStored=12, HighBit=11))
    assert found == in_eight_bits(RAMP / 11)


def test_padding_does_not_count_in_the_stretch(tmp_path: Path) -> None:
    pixels = np.array([[-2000, 0, 50, 100]], np.int16)
    assert shown(tmp_path, header(pixels, PixelPaddingValue=-2000)) == [[0, 0, 128, 255]]


def test_a_single_value_is_black(tmp_path: Path) -> None:
    assert shown(tmp_path, header(np.full((1, 2), 900, np.uint16))) == [[0, 0]]


def test_signed_pixels_through_rescale_and_window(tmp_path: Path) -> None:
    """Computed tomography: -160 to 240 Hounsfield units, by hand."""
    stored = np.array([[-2000, -160, 40, 240, 3000]], np.int16) + 24
    dataset = header(stored, RescaleSlope=1, RescaleIntercept=-24, WindowCenter=40, WindowWidth=400)
    assert shown(tmp_path, dataset) == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("form", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("representation", [np.uint16, np.int16])
def test_windows_are_those_of_the_standard(tmp_path: Path, form: str, representation: type) -> None:
    """pydicom's own function, which gives the full range of the stored bits, is the reference."""
    stored = np.linspace(0, 3000, 60).reshape(6, 10).astype(representation)
    dataset = header(stored, WindowCenter=1200, WindowWidth=900, VOILUTFunction=form)
    reference = apply_windowing(stored, dataset)
    low, high = (0, 65535) if representation is np.uint16 else (-32768, 32767)
    found = np.array(shown(tmp_path, dataset))
    assert np.ptp(found) > 200
    assert np.abs(found - (reference - low) / (high - low) * 255).max() <= 0.51


def test_the_first_of_several_windows_is_taken(tmp_path: Path) -> None:
    dataset = header(RAMP, WindowCenter=[6, 100], WindowWidth=[11, 5])
    assert shown(tmp_path, dataset) == in_eight_bits(np.clip((RAMP - 5.5) / 10 + 0.5, 0, 1))


@pytest.mark.parametrize("width", [0, -5, None])
def test_a_window_without_width_is_no_window(tmp_path: Path, width: float | None) -> None:
    assert shown(tmp_path, header(RAMP, WindowCenter=3, WindowWidth=width)) == in_eight_bits(RAMP / 11)


def lut(values: list[int], bits: int = 16, first: int = 0) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    item.add_new("ModalityLUTType", "LO", "US")
    return Sequence([item])


def test_a_voi_table_comes_before_a_window(tmp_path: Path) -> None:
    values = [4095 - 300 * k for k in range(12)]
    dataset = header(RAMP, VOILUTSequence=lut(values, bits=12), WindowCenter=1, WindowWidth=2)
    assert shown(tmp_path, dataset) == in_eight_bits(np.array(values).reshape(3, 4) / 4095)


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    values = [(7 * k) % 12 * 10 for k in range(12)]
    dataset = header(RAMP, ModalityLUTSequence=lut(values), WindowCenter=55.5, WindowWidth=111)
    expected = np.clip((np.array(values) - 55) / 110 + 0.5, 0, 1).reshape(3, 4)
    assert shown(tmp_path, dataset) == in_eight_bits(expected)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    pixels = np.array([[0, 55, 255]], np.uint8)
    assert shown(tmp_path, header(pixels, "MONOCHROME1")) == [[255, 200, 0]]
    deep = header(RAMP, "MONOCHROME1", WindowCenter=6, WindowWidth=11)
    assert shown(tmp_path, deep)[0][0] == 255


def test_one_bit(tmp_path: Path) -> None:
    dataset = header(np.zeros((2, 4), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = bytes([0b00000101, 0])
    assert shown(tmp_path, dataset) == [[255, 0, 255, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings(tmp_path: Path, syntax: str) -> None:
    dataset = header(RAMP * 100)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = (RAMP * 100).astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    assert shown(tmp_path, dataset) == in_eight_bits(RAMP / 11)


# Colour.

COLOURS = np.array([[[200, 30, 40], [10, 220, 30]], [[5, 6, 250], [128, 128, 128]]], np.uint8)


def test_rgb_in_either_order(tmp_path: Path) -> None:
    np.testing.assert_array_equal(decode(written(tmp_path / "a.dcm", header(COLOURS, "RGB"))), COLOURS)
    planes = header(COLOURS, "RGB", PlanarConfiguration=1)
    planes.PixelData = COLOURS.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(decode(written(tmp_path / "b.dcm", planes)), COLOURS)


def test_rgb_of_sixteen_bits(tmp_path: Path) -> None:
    deep = header(COLOURS.astype(np.uint16) * 256 + 99, "RGB")
    np.testing.assert_array_equal(decode(written(tmp_path / "a.dcm", deep)), COLOURS)


def test_ybr_colour_becomes_rgb(tmp_path: Path) -> None:
    ybr = convert_color_space(COLOURS, "RGB", "YBR_FULL")
    found = decode(written(tmp_path / "a.dcm", header(ybr, "YBR_FULL")))
    assert np.abs(found.astype(int) - COLOURS).max() <= 2


def test_subsampled_ybr_colour_becomes_rgb(tmp_path: Path) -> None:
    """Two pixels share their colour: Y1 Y2 Cb Cr."""
    pairs = np.repeat(COLOURS, 2, axis=1)
    ybr = convert_color_space(pairs, "RGB", "YBR_FULL")
    dataset = header(ybr, "YBR_FULL", PhotometricInterpretation="YBR_FULL_422")
    halves = ybr.reshape(2, 2, 2, 3)
    dataset.PixelData = np.concatenate([halves[..., 0], halves[:, :, 0, 1:]], axis=2).tobytes()
    found = decode(written(tmp_path / "a.dcm", dataset))
    assert np.abs(found.astype(int) - pairs).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colour(tmp_path: Path, bits: int) -> None:
    table = np.array([[200, 30, 40], [10, 220, 30], [5, 6, 250], [128, 128, 128]])
    dataset = header(np.array([[0, 1], [2, 3]], np.uint8), "PALETTE COLOR")
    for k, colour in enumerate(("Red", "Green", "Blue")):
        deep = table[:, k] * 256 + 7
        entries = deep.astype(np.uint16) if bits == 16 else table[:, k].astype(np.uint8)
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    np.testing.assert_array_equal(decode(written(tmp_path / "a.dcm", dataset)), table.reshape(2, 2, 3))


# Compressed.

SMOOTH = (np.add.outer(np.arange(64), np.arange(96)) * 25).astype(np.uint16)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_syntaxes_of_pydicom(tmp_path: Path, syntax: str) -> None:
    dataset = header(SMOOTH, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=3000)
    plain = decode(written(tmp_path / "plain.dcm", dataset))
    dataset.compress(syntax, generate_instance_uid=False)
    path = written(tmp_path / "x.dcm", dataset)
    assert np.ptp(plain) == 255
    np.testing.assert_array_equal(decode(path), plain)


def packed(folder_: Path, pixels: np.ndarray, syntax: str) -> Path:
    """Writes a file that is compressed by gdcm."""
    import gdcm

    plain, path = written(folder_ / "plain.dcm", header(pixels)), folder_ / "packed.dcm"
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    return path


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize("representation", [np.uint16, np.int16])
def test_lossless_jpeg(tmp_path: Path, syntax: str, representation: type) -> None:
    """What most hospital archives hold."""
    path = packed(tmp_path, SMOOTH.astype(representation), syntax)
    plain = decode(tmp_path / "plain.dcm")
    assert np.ptp(plain) == 255
    np.testing.assert_array_equal(decode(path), plain)


@pytest.mark.parametrize(("photometric", "subsampling"), [("YBR_FULL", 0), ("YBR_FULL_422", 1)])
def test_baseline_jpeg_in_colour(tmp_path: Path, photometric: str, subsampling: int) -> None:
    picture = np.repeat(np.repeat(COLOURS, 16, axis=0), 16, axis=1)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=subsampling)
    dataset = header(picture, "YBR_FULL", PhotometricInterpretation=photometric)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([file.getvalue()])
    found = decode(written(tmp_path / "x.dcm", dataset)).astype(int)
    for k in range(4):
        row, column = divmod(k, 2)
        np.testing.assert_allclose(found[16 * row + 8, 16 * column + 8], COLOURS[row, column], atol=6)


# Several frames.


@pytest.mark.parametrize("packed", [False, True])
def test_of_several_frames_one_must_be_chosen(tmp_path: Path, packed: bool) -> None:
    frames = np.stack([np.full((4, 5), 50 * k, np.uint8) for k in range(4)])
    dataset = header(frames)
    if packed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path = written(tmp_path / "film.dcm", dataset)
    with pytest.raises(DataError, match=r"film\.dcm has 4 frames, and one is needed: choose it with --frame"):
        decode(path)
    assert [int(decode(path, frame=number)[0, 0, 0]) for number in (1, 2, 4)] == [0, 50, 150]
    assert decode(path, frame=2).shape == (4, 5, 3)
    for number in (0, 5):
        with pytest.raises(DataError, match=f"there is no frame {number}"):
            decode(path, frame=number)


def test_one_frame_needs_no_choice(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", header(np.full((1, 3, 4), 9, np.uint8)))
    assert decode(path, frame=3)[0, 0, 0] == 9


def test_an_enhanced_file_has_a_window_for_each_frame(tmp_path: Path) -> None:
    def window(centre: float) -> Dataset:
        groups, voi = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 11
        groups.FrameVOILUTSequence = Sequence([voi])
        return groups

    shared, rescale = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -4
    shared.PixelValueTransformationSequence = Sequence([rescale])
    dataset = header(np.stack([RAMP, RAMP]))
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([window(4), window(9)])
    path = written(tmp_path / "x.dcm", dataset)
    for frame, centre in ((1, 4), (2, 9)):
        expected = np.clip((2.0 * RAMP - 4 - (centre - 0.5)) / 10 + 0.5, 0, 1)
        assert decode(path, frame=frame)[..., 0].tolist() == in_eight_bits(expected)


# Refused.


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.dcm", header(RAMP, Rows=60_000, Columns=60_000))
    monkeypatch.setattr(dicom, "_stored", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"x\.dcm is too large: 60000 x 60000"):
        decode(path)


def test_a_report_has_no_image(tmp_path: Path) -> None:
    dataset = header(RAMP)
    for name in ("PixelData", "Rows", "Columns"):
        delattr(dataset, name)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match="is a DICOM file without an image in it"):
        decode(tmp_path / "x.dcm")


def test_a_deflated_file_could_be_a_bomb(tmp_path: Path) -> None:
    dataset = header(RAMP)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(DataError, match="is a deflated DICOM file; save it uncompressed"):
        decode(written(tmp_path / "x.dcm", dataset))


def test_a_film_is_refused(tmp_path: Path) -> None:
    dataset = header(RAMP)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = encapsulate([b"\0" * 8])
    with pytest.raises(DataError, match="is compressed in a way that is not supported"):
        decode(written(tmp_path / "x.dcm", dataset))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", header(SMOOTH))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"x\.dcm cannot be read: damaged DICOM \(\w+\)$"):
        decode(path)


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless]
)
def test_damaged_pixels_are_refused_in_silence(
    tmp_path: Path, syntax: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The decoders are told not to write to the terminal: it shows a progress bar."""
    dataset = header((SMOOTH >> 4).astype(np.uint8))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 no picture" * 9])
    with pytest.raises(DataError, match=r"x\.dcm cannot be read: damaged DICOM \(\w+\)$"):
        decode(written(tmp_path / "x.dcm", dataset))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


@pytest.fixture
def lossless(tmp_path: Path) -> Path:
    return packed(tmp_path, SMOOTH, JPEGLosslessSV1)


def drop_workers() -> None:
    """No process is left from another test."""
    dicom_worker._end_all()


@pytest.mark.parametrize("program", ["import os; os.abort()", "input(); import os; os.abort()"])
def test_a_crash_of_the_decoder_is_one_line(
    lossless: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_workers()
    with monkeypatch.context() as crashing:
        crashing.setattr(dicom_worker, "_COMMAND", [sys.executable, "-c", program])
        with pytest.raises(DataError, match=r"packed\.dcm cannot be read: damaged DICOM \(ValueError\)"):
            decode(lossless)
    assert decode(lossless).shape == (64, 96, 3)


def test_a_decoder_that_never_ends_is_stopped(lossless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_workers()
    monkeypatch.setattr(dicom_worker, "_COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(dicom_worker, "_SECONDS", 0.2)
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"packed\.dcm cannot be read: damaged DICOM \(ValueError\)"):
        decode(lossless)
    assert time.perf_counter() - began < 30


def test_a_process_is_used_again(lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a damaged file that did not make it crash."""
    drop_workers()
    started: list[list[str]] = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **b: (started.append(a[0]), real(*a, **b))[1])
    expected = decode(lossless)
    (tmp_path / "cut.dcm").write_bytes(lossless.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged DICOM"):
        decode(tmp_path / "cut.dcm")
    np.testing.assert_array_equal(decode(lossless), expected)
    assert len(started) <= 2


def test_processes_decode_at_the_same_time(tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        paths.append(packed(tmp_path / str(number), SMOOTH + number * 100, JPEGLosslessSV1))
    expected = [decode(path) for path in paths]
    np.testing.assert_array_equal(in_threads(decode, paths), expected)


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    named_jpg = written(tmp_path / "x.jpg", header(np.full((2, 2), 9, np.uint8)))
    assert decode(named_jpg)[0, 0, 0] == 9
    Image.new("L", (2, 2), 8).save(tmp_path / "x.dcm", format="PNG")
    assert decode(tmp_path / "x.dcm")[0, 0, 0] == 8
    (tmp_path / "text.dcm").write_text("a letter")
    with pytest.raises(DataError, match=r"text\.dcm is not an image in a known format"):
        decode(tmp_path / "text.dcm")


def test_without_the_extra_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x.dcm", header(RAMP))
    dicom._set_up.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        DataError, match=r"x\.dcm is DICOM, which needs more .*: in .* -m pip install -e '\.\[dicom\]'"
    ):
        decode(path)


def test_without_the_plugins_one_line_says_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = header(SMOOTH)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    path = written(tmp_path / "x.dcm", dataset)
    decoder = type(pydicom.pixels.get_decoder(JPEG2000Lossless))
    monkeypatch.setattr(decoder, "is_available", property(lambda _: False))
    with pytest.raises(
        DataError, match=r"is compressed and needs more .*: in .* -m pip install -e '\.\[dicom\]'"
    ):
        decode(path)


# Patients.


def damaged_files(root: Path) -> list[Path]:
    """Files that pydicom warns of or fails on, with a patient's name where it quotes the value."""
    odd = header(RAMP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd.add_new("PhotometricInterpretation", "CS", SECRET[0])
        odd.add_new("WindowCenter", "LO", SECRET[0])
        odd.add_new("WindowWidth", "LO", SECRET[1])
        paths = [written(root / "odd.dcm", odd)]
        wrong = header(RAMP)
        wrong.add_new("NumberOfFrames", "LO", SECRET[1])
        paths.append(written(root / "wrong.dcm", wrong))
        short = header(RAMP, BitsAllocated=32)
        paths.append(written(root / "short.dcm", short))
    return paths


def test_nothing_of_a_patient_is_written_or_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "raw"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(8):
            written(root / name / f"{number}.dcm", header(RAMP + number))
    bad = damaged_files(root / "a")
    assert SECRET[0].encode() in (root / "a" / "0.dcm").read_bytes()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as told:
        with pytest.raises(LmdError) as refused:
            folder.prepare(folder.Options(root=root), tmp_path / "refused")
        dataset = folder.prepare(folder.Options(root=root, skip_bad=True), tmp_path / "data")
        open_cache(dataset, 16)
    assert len(dataset.table) == 16
    assert (dataset.folder / "skipped.csv").read_text().count("damaged DICOM") == len(bad)
    out, err = capfd.readouterr()
    texts = [out, err, caplog.text, str(refused.value), *(str(one.message) for one in told)]
    files = [path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file()]
    assert len(files) == 6  # The manifest, its description, what was skipped; hashes, pixels and checksums.
    for secret in SECRET:
        assert not [text for text in texts if secret in text]
        assert not [data for data in files if secret.encode() in data]


def test_only_listed_tags_reach_the_memory(tmp_path: Path) -> None:
    found = dicom_header.found_in(written(tmp_path / "x.dcm", header(RAMP, WindowCenter=3))).tags
    assert "WindowCenter" in found
    assert {element.keyword for element in found} <= set(dicom_header.TAGS)


def test_the_frame_is_an_option_of_the_command(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for name, shade in (("a", 40), ("b", 90)):
        (root / name).mkdir(parents=True)
        for number in range(6):
            frames = np.stack([np.full((8, 8), 0, np.uint8), np.full((8, 8), shade + number, np.uint8)])
            written(root / name / f"{number}.dcm", header(frames))
    with pytest.raises(DataError, match=r"has 2 frames.*\(12 such images"):
        folder.prepare(folder.Options(root=root), tmp_path / "data")
    dataset = folder.prepare(folder.Options(root=root, frame=2), tmp_path / "data")
    assert open_cache(dataset, 8).min() == 40
    assert {".dcm", ".dicom"} <= set(files.EXTENSIONS)
