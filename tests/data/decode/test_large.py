"""Images larger than any: refused in one line, or read in a part of their size; never more than 1.5 GB of memory."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from lmd.data.decode import bounds, dicom, dicom_grey, tiff_pages
from lmd.data.decode.images import decode, decode_small
from lmd.errors import DataError
from tests.data.decode.test_dicom import RAMP, SMOOTH, header, written

SIDE = 17_400  # 302.8 million pixels.
MOST = 1.5 * 2**30
READ = r"""
import re, sys
from pathlib import Path
from lmd.data.decode.images import verify, decode_small
from lmd.errors import DataError
path = Path(sys.argv[1])
try:
    print("read", decode_small(path, 224).mean())
except DataError as error:
    print(error)
print(verify([path]).get(path))
# Not ru_maxrss: that begins with what the process had that started this one.
print(1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


def in_a_process(path: Path) -> tuple[str, int]:
    """What reading a file says, and the most memory that it took."""
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    small, checked, memory = done.stdout.splitlines()
    assert small.startswith("read") == (checked == "None")
    return small, int(memory)


def png(side: int, colour: int = 0, bits: int = 1) -> bytes:
    """A PNG of zeros, row after row, so that making it takes no memory."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    pack, row = zlib.compressobj(1), bytes(1 + (side * samples * bits + 7) // 8)
    data = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def tiff(side: int, bits: int, samples: int = 1, **tags: int) -> bytes:
    """A TIFF whose one strip is not there: its header alone must be enough to refuse it."""
    entries = {
        256: side,
        257: side,
        258: bits,
        259: 8,
        262: 1 if samples < 3 else 2,
        273: 8,
        277: samples,
        278: side,
        279: 8,
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(entries)) + table + bytes(4)


HEADS = {
    "x.png": png(SIDE),
    "wide.png": png(12_000, 6, 8)[:200],  # 144 million; only its head is needed.
    "deep.png": png(8_000, 2, 16)[:200],  # 64 million pixels of 6 bytes.
    "x.tif": tiff(SIDE, 1),
    "deep.tif": tiff(9_000, 32, t339=3),
    "x.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 3 * SIDE**2, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0),
    "x.gif": b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0x80, 0, 0) + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, SIDE, SIDE, 0) + b"\x02\x01\0\0;",
    "x.ppm": b"P6 %d %d 255\n" % (SIDE, SIDE),
    "x.tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, SIDE, SIDE, 24, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_300_megapixels_are_refused_by_their_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HEADS[name])
    said, memory = in_a_process(path)
    assert f"image {path} is too large: " in said
    assert " million are the most for its kind; make it smaller, or cut it into parts" in said
    assert memory < MOST / 5


def test_a_webp_and_a_jpeg_2000_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their decoders need more memory for each pixel. The bounds are lowered, since such files take long to make."""
    monkeypatch.setattr(bounds, "MAX_BYTES", 300)
    for form, count in (("WEBP", 50), ("JPEG2000", 50), ("PNG", 100)):
        path = tmp_path / f"x.{form.lower()[:4]}".replace("jpeg", "jp2")
        for width in (count // 5, count // 5 + 1):
            Image.new("RGB", (width, 5)).save(path, form)
            if width * 5 <= count:
                assert decode(path).shape == (5, width, 3)
            else:
                with pytest.raises(DataError, match=f"is too large: {width} x 5 pixels"):
                    decode(path)


def test_a_jpeg_of_300_megapixels_is_read_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(large_jpeg(SIDE - 100))
    said, memory = in_a_process(path)
    assert float(said.split()[1]) == pytest.approx(128, abs=1)
    assert memory < MOST / 3


def large_jpeg(side: int) -> bytes:
    """A grey JPEG of any size from one of 16 x 16 blocks: each restart interval stands again."""
    file = io.BytesIO()
    side -= side % 8
    Image.new("L", (side, 8), 128).save(file, "JPEG", restart_marker_rows=1)
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc0")
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    rows = side // 8
    data[frame + 5 : frame + 7] = (8 * rows).to_bytes(2, "big")
    body = bytes(data[start : data.rindex(b"\xff\xd9")])
    parts = b"".join(body + b"\xff" + bytes([0xD0 + number % 8]) for number in range(rows - 1))
    return bytes(data[:start]) + parts + body + b"\xff\xd9"


def test_what_is_allowed_at_its_largest_fits_as_well(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(10_000, 2, 8))
    said, memory = in_a_process(path)
    assert said == "read 0.0"
    assert memory < MOST


# TIFF.


def test_a_tile_larger_than_any_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for compression in (1, 5, 7, 8):
        path.write_bytes(tiff(16, 8, t322=60_000, t323=60_000, t324=8, t325=8, t259=compression))
        with pytest.raises(DataError, match="strips or tiles have no size, or one beyond"):
            decode(path)


def test_millions_of_tiles_that_are_not_there_are_not_counted_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(9_000, 8, t322=1, t323=1, t324=8, t325=8, t259=1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="1 of its 81000000 strips or tiles"):
        decode(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_pages_that_share_their_values_are_not_read_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty thousand pages in a megabyte, each with the same thousand strips."""
    place, pages = 8 + 8_000, []
    for _ in range(20):
        entries = (
            struct.pack("<H", 2) + struct.pack("<HHII", 273, 4, 2000, 8) + struct.pack("<HHII", 256, 4, 1, 5)
        )
        place += len(entries) + 4
        pages.append(entries + struct.pack("<I", place))
    (tmp_path / "x.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 8 + 8_000) + bytes(8_000) + b"".join(pages) + bytes(6)
    )
    monkeypatch.setattr(tiff_pages, "_MOST_VALUES", 20_000)
    with pytest.raises(DataError, match="its tags have more than 20,000 values"):
        decode(tmp_path / "x.tif")


def test_a_damaged_tiff_is_told_in_one_line_by_us(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff, too, has something to say, and prints it."""
    path = tmp_path / "x.tif"
    Image.fromarray(RAMP.astype(np.uint8)).resize((200, 200)).save(path, compression="jpeg")
    path.write_bytes(path.read_bytes().replace(b"\xff\xda", b"\xff\x01"))
    with pytest.raises(DataError, match=r"x\.tif"):
        decode(path)
    assert tuple(capfd.readouterr()) == ("", "")


# DICOM.


def jpeg(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG")
    return file.getvalue()


def jpeg_2000(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG2000", no_jp2=True)
    return file.getvalue()


def jpeg_ls(side: int) -> bytes:
    import imagecodecs

    return imagecodecs.jpegls_encode(np.full((side, side), 90, np.uint8))


@pytest.mark.parametrize(
    ("syntax", "coded"), [(JPEGBaseline8Bit, jpeg), (JPEG2000Lossless, jpeg_2000), (JPEGLSLossless, jpeg_ls)]
)
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, syntax: str, coded: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = header(np.zeros((16, 16), np.uint8))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([coded(16)])  # type: ignore[operator]
    assert (decode(written(tmp_path / "sound.dcm", dataset)) == 90).all()
    dataset.PixelData = encapsulate([coded(64)])  # type: ignore[operator]
    monkeypatch.setattr(dicom, "_stored", lambda *_: pytest.fail("decoded"))
    words = r"its picture has 64 x 64 pixels of 1 sample, and its tags say 16 x 16 of 1"
    with pytest.raises(DataError, match=words):
        decode(written(tmp_path / "x.dcm", dataset))


def test_a_jpeg_2000_whose_two_sizes_differ_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jp2"
    Image.new("L", (16, 16)).save(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"ihdr") + 4
    data[place : place + 8] = struct.pack(">II", 8, 8)
    path.write_bytes(data)
    with pytest.raises(DataError, match="its two sizes differ"):
        decode(path)


def test_a_panic_of_a_decoder_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """pylibjpeg-rle ends with a panic where a segment lies beyond the frame, which is no Exception of Python."""
    dataset = header(SMOOTH)
    dataset.compress(RLELossless, generate_instance_uid=False)
    path = written(tmp_path / "x.dcm", dataset)
    sound = decode(path)
    data = bytearray(path.read_bytes())
    start = data.index(
        struct.pack("<II", 2, 64)
    )  # The head of the frame: two segments, the first at byte 64.
    refused = 0
    for place in (4, 8):
        for value in (0, 1, 63, 65, 2**31, 2**32 - 1):
            data[start + place : start + place + 4] = struct.pack("<I", value)
            path.write_bytes(data)
            try:
                decode(path)
            except DataError as error:
                refused += "damaged DICOM" in str(error)
    assert refused > 5
    assert tuple(capfd.readouterr()) == ("", "")
    assert sound.shape == (*SMOOTH.shape, 3)


def test_a_file_that_is_dicom_and_tiff_is_read_as_dicom(tmp_path: Path) -> None:
    """Whole-slide scanners write both: here the TIFF would be of another picture."""
    from lmd.data.audit.looks import _header

    path = written(tmp_path / "x.dcm", header((RAMP * 20).astype(np.uint8)))
    single, data = decode(path), bytearray(path.read_bytes())
    data[:8] = b"II*\0" + struct.pack("<I", len(data))
    path.write_bytes(bytes(data) + tiff(64, 8)[16:])
    with Image.open(path) as image:
        assert (image.format, image.size) == ("TIFF", (64, 64))
    assert (decode(path) == single).all()
    assert _header(path, single) == ("DCM", "", 4, 3)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 300, "WindowWidth": 90, "RescaleSlope": -2.5, "RescaleIntercept": 900},
                                  {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}])  # fmt: skip
def test_a_large_dicom_is_shown_as_a_small_one(
    tags: dict[str, object], signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are looked up, which takes an eighth of the memory."""
    pixels = (SMOOTH.astype(np.int32) - 500 * signed).astype(np.int16 if signed else np.uint16)
    dataset = header(pixels, **tags)
    before = dicom_grey.grey_of(pixels, dataset)
    monkeypatch.setattr(dicom_grey, "_MANY", 100)
    assert (dicom_grey.grey_of(pixels, dataset) == before).all()
    assert len(np.unique(before)) > 3


def test_large_dicoms_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.dcm", header(RAMP))
    monkeypatch.setattr(bounds, "LARGE_PIXELS", 5)
    real, together = dicom._shown, []

    def shown(*given: object) -> np.ndarray:
        together.append(bounds._LARGE.locked())
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(dicom, "_shown", shown)
    thread = threading.Thread(target=decode_small, args=(path, 8))
    thread.start()
    thread.join()
    assert together == [True]
