"""The readers that hostile bytes are given to: sound bytes to begin with, and what the program does with them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmd.errors import LmdError
from tests.fuzz import changes
from tests.fuzz.changes import Change


@dataclass
class Reader:
    """A reader: where its bytes lie below a folder, sound ones, and what reads them (with the input's number)."""

    name: str
    file: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, int], object]
    changes: Sequence[Change] = ()
    # Makes changed bytes whole again, such as with a checksum, so that what lies behind it is reached.
    mend: Callable[[Path, bytes], bytes] = field(default=lambda _, data: data)


# Dataset folders.


def _dataset(folder: Path) -> Path:
    return folder / "data"


def _info(folder: Path) -> list[bytes]:
    return [(_dataset(folder) / "dataset.json").read_bytes()]


def _manifest(folder: Path) -> list[bytes]:
    return [(_dataset(folder) / "manifest.csv").read_bytes()]


def _use_dataset(folder: Path, number: int) -> None:
    from lmd.data.dataset.folds import parts
    from lmd.data.dataset.manifest import read_dataset

    data = read_dataset(_dataset(folder), check_files=number % 2 == 0)
    for split in ("train", "val", "test"):
        data.counts(split)
    data.paths()
    parts(0, 2, None)


def _use_manifest(folder: Path, number: int) -> None:
    """As a manifest that was made so: its hash is that of the changed bytes."""
    import hashlib

    path = _dataset(folder) / "dataset.json"
    tree = json.loads(path.read_text())
    tree["manifest_sha256"] = hashlib.sha256((_dataset(folder) / "manifest.csv").read_bytes()).hexdigest()
    path.write_text(json.dumps(tree))
    _use_dataset(folder, number)


@cache
def _sound(folder: Path) -> Any:
    """The data set itself, where another file is the hostile one."""
    from lmd.data.dataset.manifest import read_dataset

    return read_dataset(folder)


# Settings.

SETTINGS = b"""method: lmd
size: 64
batch: 32
precision: auto
stage1:
  epochs: 3
  consistency_weight: 1.0
  optimisation: {lr: 0.05, schedule: cosine}
m_step: {virtual_per_class: 40, l2: 0.1}
"""


def _recipe(folder: Path, number: int) -> None:
    from lmd.planning.choice import Asked, choose

    asked = Asked(recipe=folder / "recipe.yaml")
    choose(asked, _sound(_dataset(folder)) if number % 20 == 0 else None)


def _set(folder: Path, number: int) -> None:
    from lmd.cli.names import check_choice
    from lmd.planning.choice import Asked, choose

    text = (folder / "set.txt").read_bytes().decode("utf-8", "surrogateescape")
    if number % 4 == 0:
        check_choice("lmd", None, [text])
    choose(Asked("lmd", overrides=[text]))


def _folds(folder: Path, number: int) -> None:
    from lmd.data.dataset.folds_folder import read_folds

    read_folds(folder / "folds", check_files=False)


def _run(folder: Path) -> Path:
    return folder / "run"


def _saved_settings(folder: Path, number: int) -> None:
    from lmd.evaluation.judge import recorded
    from lmd.folds.folder import saved_choice
    from lmd.planning.choice import Asked, going_on
    from lmd.reporting.engineer import flat
    from lmd.run import read_identity
    from lmd.run_folder import RunFolder

    tree = read_identity(RunFolder(_run(folder)))
    flat(tree["settings"])
    with suppress(LmdError):
        recorded(RunFolder(_run(folder)))
    saved = saved_choice(RunFolder(_run(folder)))
    going_on(Asked(), _sound(_dataset(folder)), _run(folder), *saved)


def _of_run(name: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(_run(folder) / name).read_bytes()]


# What a run keeps.


def _sealed(_: Path, data: bytes) -> bytes:
    """The same tree with the checksum that belongs to it, as often as it is a tree."""
    from lmd.seals import sealed_json

    try:
        tree = json.loads(data)
        return sealed_json({name: value for name, value in tree.items() if name != "sha256"}).encode()
    except (ValueError, RecursionError, AttributeError, TypeError):
        return data


def _sealed_tree(folder: Path, data: bytes) -> bytes:
    from lmd.seals import BLANK, TREE, seal

    if data[TREE.offset : TREE.place] != TREE.text:
        return data
    path = folder / "to-seal"
    path.write_bytes(data[: TREE.place] + BLANK.encode() + data[TREE.place + len(BLANK) :])
    seal(path, TREE)
    return path.read_bytes()


def _model_card(folder: Path, number: int) -> None:
    from lmd.model_card import ModelCard
    from lmd.reporting.card import write_card
    from lmd.run import read_model_card
    from lmd.run_folder import RunFolder

    card: ModelCard = read_model_card(RunFolder(_run(folder)))
    if number % 20 == 0:
        _load_model(folder, number)
    if number % 50 == 1:
        write_card(_run(folder))
    repr(card)


def _load_model(folder: Path, number: int) -> None:
    from lmd.evaluation.predict import load_model
    from lmd.run_folder import RunFolder

    load_model(RunFolder(_run(folder)))


def _weights_of_run(folder: Path, number: int) -> None:
    from lmd.evaluation.predict import _read_weights
    from lmd.run_folder import RunFolder

    _read_weights(RunFolder(_run(folder)), _network(_run(folder)))


@cache
def _network(run: Path) -> Any:
    from lmd.models.classifier import build_classifier
    from lmd.models.encoder import build_encoder, num_features
    from lmd.models.network import Network

    encoder = build_encoder("test_resnet", size=16)
    return Network(
        encoder, build_classifier("linear", num_features(encoder), 3, seed=0), ((0.5,) * 3, (0.5,) * 3)
    )


def _weights_file(folder: Path, number: int) -> None:
    from lmd.models.files import read_tensors

    read_tensors(folder / "weights.safetensors")


def _stage1(folder: Path, number: int) -> None:
    from lmd.files import load_tree

    load_tree(_run(folder) / "model" / "stage1.safetensors")


def _checkpoint(folder: Path, number: int) -> None:
    from lmd.run import read_identity
    from lmd.run_folder import RunFolder
    from lmd.training import checkpoint

    run = RunFolder(_run(folder))
    saved = checkpoint.load(run, read_identity(run))
    if saved is not None:
        checkpoint.state_of(saved)


def _seen(folder: Path, number: int) -> None:
    from lmd.evaluation.leaks.seen import joined, read_seen
    from lmd.run_folder import RunFolder

    seen = read_seen(RunFolder(_run(folder)))
    if seen is not None:
        joined(seen, seen)


def _metrics(folder: Path, number: int) -> None:
    from lmd.records import read_metrics
    from lmd.reporting.learning import learning_curves

    history = read_metrics(_run(folder))
    if history and number % 200 == 0:
        learning_curves(history)
    sum(record["seconds"] for record in history)


def _environment(folder: Path, number: int) -> None:
    from lmd.records import read_environment

    read_environment(_run(folder))


def _evaluation(folder: Path, number: int) -> None:
    from lmd.evaluation.results import read_evaluations
    from lmd.reporting.comparison import comparison_lines

    found = read_evaluations(_run(folder))
    if number % 20 == 0:
        for result in found.values():
            comparison_lines({"run": result})


def _predictions(folder: Path, number: int) -> None:
    from lmd.evaluation.cases import measure, read_cases

    data = _sound(_dataset(folder))
    cases = read_cases(_run(folder) / "predictions-test.csv", data)
    if number % 20 == 0:
        measure(cases, data.classes, data.info.bands)


def _experiment(folder: Path, number: int) -> None:
    from lmd.experiments.state import _read

    saved = _read(folder / "experiment.json")
    for block, sha256 in saved["data"].items():
        f"{block} {sha256[:12]} {saved['experiment']}"


def _folds_run(folder: Path, number: int) -> None:
    from lmd.folds.folder import cards, opened, saved_choice
    from lmd.planning.choice import Asked, going_on

    run = opened(folder / "folds-run")
    going_on(Asked(), _sound(_dataset(folder)), run.path, *saved_choice(run))
    cards(run)


# Tables.


def _table(ending: str) -> Callable[[Path, int], None]:
    def read(folder: Path, number: int) -> None:
        from lmd.data.dataset.reading.tables import read_table

        path = folder / f"cases{ending}"
        read_table(path)
        if number % 20 == 0:
            _prepare(folder, path, number)

    return read


def _prepare(folder: Path, path: Path, number: int) -> None:
    """The whole of `lmd prepare table`."""
    import shutil

    from lmd.data.dataset.sources import table
    from lmd.fields import read_options

    out = folder / "prepared"
    shutil.rmtree(out, ignore_errors=True)
    given = {"table": str(path), "root": str(folder / "images"), "skip_bad": True}
    options = read_options(table.Options, given, "table")
    table.prepare(options, out, lambda done, of: None)


def _cases() -> pd.DataFrame:
    names = [f"image{number:03d}.png" for number in range(15)]
    return pd.DataFrame({"image": names, "label": ["common"] * 5 + ["less"] * 5 + ["rare"] * 5, "age": 61.5})


def _csv_seeds(folder: Path) -> list[bytes]:
    text = _cases().to_csv(index=False)
    return [text.encode(), text.replace(",", ";").encode(), text.replace(",", "\t").encode("utf-16")]


def _xlsx_seeds(folder: Path) -> list[bytes]:
    file = io.BytesIO()
    _cases().to_excel(file, index=False)
    return [file.getvalue()]


def _parquet_seeds(folder: Path) -> list[bytes]:
    found = []
    for packed in ("snappy", "zstd", None):
        file = io.BytesIO()
        _cases().to_parquet(file, compression=packed)
        found.append(file.getvalue())
    return found


def _xlsx_changed(random_: Any, data: bytes) -> bytes:
    """A workbook with one of its parts changed, and packed again."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return changes.flipped(random_, data)
    name = random_.choice(
        [name for name in parts if "sheet" in name or "shared" in name or "workbook" in name] or [*parts]
    )
    edits = (
        changes.flipped,
        changes.with_token,
        changes.part_again,
        _xml_changed,
        _xml_changed,
        _xml_changed,
    )
    parts[name] = random_.choice(edits)(random_, parts[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return file.getvalue()


def _xml_changed(random_: Any, data: bytes) -> bytes:
    import re

    found = list(re.finditer(rb'"[^"]*"|>[^<]+<', data))
    if not found:
        return changes.flipped(random_, data)
    value = random_.choice(found)
    texts = (b"XFD1048576", b"A1048577", b"A99999999999", b"ZZZZZ1", b"-1", b"0", b"1e999", b"n", b"s", b"d", b"b", b"e", b"str", b"A1:XFD1048576",
             b"inlineStr", b"9" * 400, b"&#0;", b"&x;", b"A1", b"B2", b"Sheet2", b"rId9", b"../x", b"", b"nan", b"99999999")  # fmt: skip
    first, last = data[value.start() : value.start() + 1], data[value.end() - 1 : value.end()]
    return data[: value.start()] + first + random_.choice(texts) + last + data[value.end() :]


def _shard_seeds(folder: Path) -> list[bytes]:
    import tarfile

    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for number in range(9):
                told = {"cls": b"%d" % (number % 3), "json": json.dumps({"patient": f"p{number}"}).encode()}
                for ending, data in {"png": _saved("PNG"), **told}.items():
                    info = tarfile.TarInfo(f"{'part/' * (30 * (number == 4))}{number:03d}é.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        found.append(file.getvalue())
    return found


def _with_sums(_: Path, data: bytes) -> bytes:
    """The same with the right checksum in each header of a tar file."""
    changed = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            head = data[start : start + 148] + b" " * 8 + data[start + 156 : start + 512]
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(head)
    return bytes(changed)


def _shard(folder: Path, number: int) -> None:
    """The whole of `lmd prepare shards`, and the pixels."""
    import shutil

    from lmd.data.dataset.sources import shards
    from lmd.data.decode.cache import open_cache

    out = folder / "prepared"
    shutil.rmtree(out, ignore_errors=True)
    options = shards.Options(shards=(str(folder / "x.tar"),), skip_bad=True)
    assert open_cache(shards.prepare(options, out), 8).shape[1:] == (3, 8, 8)


# Caches.


def _hashes(folder: Path, number: int) -> None:
    from lmd.data.decode.hashes import file_hashes

    found = file_hashes(_sound(_dataset(folder)))
    assert all(len(text) == 64 for text in found)


def _looks(folder: Path, number: int) -> None:
    from lmd.data.audit.looks import _read_kept

    _read_kept(next((_dataset(folder) / "cache").glob("looks-*.npy")))


def _cache(folder: Path, number: int) -> None:
    from lmd.data.decode.cache import open_cache

    assert open_cache(_sound(_dataset(folder)), 16).shape[1:] == (3, 16, 16)


def _cached(pattern: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [next((_dataset(folder) / "cache").glob(pattern)).read_bytes()]


# Images.


def _picture(ending: str) -> Callable[[Path, int], None]:
    def read(folder: Path, number: int) -> None:
        from lmd.data.decode.images import decode_small, examine

        path, frame, bits = (
            folder / f"x{ending}",
            (None, 1, 2)[number % 3],
            (None, None, None, 12)[number % 4],
        )
        if number % 5:
            assert decode_small(path, 24, ("none", "center")[number % 2], frame, bits).shape == (3, 24, 24)
        else:
            examine(path, 64, frame, bits)

    return read


def _grey() -> np.ndarray:
    return (np.add.outer(np.arange(30), np.arange(40)) * 3).astype(np.uint16)


def _saved(form: str, **options: Any) -> bytes:
    from PIL import Image

    mode = options.pop("mode", "RGB")
    pictures = {
        "I;16": lambda: Image.fromarray(_grey() * 200),
        "F": lambda: Image.fromarray(_grey().astype(np.float32)),
    }
    colours = np.stack([_grey(), _grey()[::-1], _grey()[:, ::-1]], axis=2).astype(np.uint8)
    picture = pictures.get(mode, lambda: Image.fromarray(colours).convert(mode))()
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _all_saved(form: str, *kinds: dict[str, Any]) -> Callable[[Path], list[bytes]]:
    return lambda folder: [_saved(form, **dict(kind)) for kind in kinds]


def _tiffs(folder: Path) -> list[bytes]:
    import tifffile

    found = _all_saved("TIFF", {}, {"mode": "L"}, {"mode": "1", "compression": "group4"}, {"mode": "CMYK", "compression": "tiff_lzw"},
                       {"compression": "jpeg"}, {"mode": "F"}, {"mode": "I;16", "compression": "tiff_deflate"}, {"mode": "P"})(folder)  # fmt: skip
    colours = np.stack([_grey() * 100] * 3, axis=2)
    for data, options in ((colours, {"photometric": "rgb", "tile": (16, 16)}), (colours, {"photometric": "rgb", "compression": "zlib", "predictor": 2}),
                          (np.moveaxis(colours, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}), (_grey().astype(np.float64), {"photometric": "minisblack"}),
                          (np.stack([_grey()] * 3), {"photometric": "minisblack", "bigtiff": True})):  # fmt: skip
        file = io.BytesIO()
        tifffile.imwrite(file, data, **options)
        found.append(file.getvalue())
    return found


def _dicoms(*kinds: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [_dicom(kind) for kind in kinds]


def _dicom(kind: str) -> bytes:
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    pixels = _grey() if "16" in kind else (_grey() % 256).astype(np.uint8)
    pixels = (
        np.stack([pixels] * 3, axis=2)
        if "rgb" in kind
        else np.stack([pixels] * 2)
        if "frames" in kind
        else pixels
    )
    if "j2k" in kind:
        pixels = np.repeat(pixels, 2, axis=0)  # OpenJPEG needs 32 rows.
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = (
        uid.ImplicitVRLittleEndian if "implicit" in kind else uid.ExplicitVRLittleEndian
    )
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.PatientName, made.Rows, made.Columns = "A^B", 60 if "j2k" in kind else 30, 40
    made.SamplesPerPixel, made.PhotometricInterpretation = (3, "RGB") if "rgb" in kind else (1, "MONOCHROME2")
    if "rgb" in kind:
        made.PlanarConfiguration = 0
    if "frames" in kind:
        made.NumberOfFrames = 2
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    if "window" in kind:
        made.WindowCenter, made.WindowWidth, made.RescaleSlope, made.RescaleIntercept = 100, 50, 2, -10
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    packed = {
        "rle": uid.RLELossless,
        "j2k": uid.JPEG2000Lossless,
        "jpegls": uid.JPEGLSLossless,
        "lossless": uid.JPEGLosslessSV1,
        "jpeg8": uid.JPEGBaseline8Bit,
    }
    syntax = next((packed[name] for name in packed if name in kind), None)
    if syntax in (uid.RLELossless, uid.JPEG2000Lossless):
        made.compress(syntax, generate_instance_uid=False)
    elif syntax is not None:
        import imagecodecs

        codes = {
            uid.JPEGLSLossless: imagecodecs.jpegls_encode,
            uid.JPEGLosslessSV1: lambda a: imagecodecs.ljpeg_encode(a),
        }
        data = _saved("JPEG", mode="L") if syntax == uid.JPEGBaseline8Bit else codes[syntax](pixels)
        made.PixelData, made.file_meta.TransferSyntaxUID = encapsulate([data]), syntax
        made["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


TREE, LINES, YAML, CELL = (
    [changes.json_changed] * 4,
    [changes.line_changed] * 4,
    [changes.yaml_changed] * 4,
    [changes.cell_changed] * 4,
)
HEADER = [changes.header_changed] * 4
SETS = [
    b"size=64",
    b"stage1.optimisation.lr=0.1",
    b"stage1={epochs: 3}",
    b"encoder=resnet18",
    b"weights=null",
]

READERS = {
    reader.name: reader
    for reader in (
        Reader("dataset.json", "data/dataset.json", _info, _use_dataset, TREE),
        Reader("manifest", "data/manifest.csv", _manifest, _use_manifest, CELL),
        Reader("recipe", "recipe.yaml", lambda _: [SETTINGS], _recipe, YAML),
        Reader("set", "set.txt", lambda _: SETS, _set),
        Reader("settings.yaml", "run/settings.yaml", _of_run("settings.yaml"), _saved_settings, YAML),
        Reader("model.json", "run/model/model.json", _of_run("model/model.json"), _model_card, TREE, _sealed),
        Reader("images.json", "run/model/images.json", _of_run("model/images.json"), _seen, TREE, _sealed),
        Reader("metrics.jsonl", "run/metrics.jsonl", _of_run("metrics.jsonl"), _metrics, LINES),
        Reader("environment.json", "run/environment.json", _of_run("environment.json"), _environment, TREE),
        Reader("evaluation", "run/evaluation-test.json", _of_run("evaluation-test.json"), _evaluation, TREE),
        Reader("predictions", "run/predictions-test.csv", _of_run("predictions-test.csv"), _predictions, CELL),
        Reader("checkpoint", "run/checkpoint/state.safetensors", _of_run("checkpoint/state.safetensors"), _checkpoint, HEADER, _sealed_tree),
        Reader("stage1", "run/model/stage1.safetensors", _of_run("model/stage1.safetensors"), _stage1, HEADER, _sealed_tree),
        Reader("model.safetensors", "run/model/model.safetensors", _of_run("model/model.safetensors"), _weights_of_run, HEADER),
        Reader("weights", "weights.safetensors", _of_run("model/model.safetensors"), _weights_file, HEADER),
        Reader("experiment.json", "experiment.json", lambda folder: [(folder / "experiment.json").read_bytes()], _experiment, TREE),
        Reader("folds.json", "folds/folds.json", lambda folder: [(folder / "folds/folds.json").read_bytes()], _folds, TREE),
        Reader("folds-run.json", "folds-run/folds-run.json", lambda folder: [(folder / "folds-run/folds-run.json").read_bytes()], _folds_run, TREE),
        Reader("csv", "cases.csv", _csv_seeds, _table(".csv"), CELL),
        Reader("xlsx", "cases.xlsx", _xlsx_seeds, _table(".xlsx"), [_xlsx_changed] * 8),
        Reader("parquet", "cases.parquet", _parquet_seeds, _table(".parquet")),
        Reader("shard", "x.tar", _shard_seeds, _shard, mend=_with_sums),
        Reader("hashes.json", "data/cache/hashes.json", _cached("hashes.json"), _hashes, TREE),
        Reader("looks", "data/cache/looks-*.npy", _cached("looks-*.npy"), _looks),
        Reader("cache", "data/cache/16-*.npy", _cached("16-*.npy"), _cache),
        Reader("sums", "data/cache/16-*.sums", _cached("16-*.sums"), _cache),
        Reader("jpeg", "x.jpg", _all_saved("JPEG", {}, {"mode": "L"}, {"mode": "CMYK"}, {"progressive": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}), _picture(".jpg")),
        Reader("png", "x.png", _all_saved("PNG", {}, {"mode": "L"}, {"mode": "1"}, {"mode": "P"}, {"mode": "RGBA"}, {"mode": "LA"}, {"mode": "I;16"}), _picture(".png"), [changes.png_changed] * 7),
        Reader("tiff", "x.tif", _tiffs, _picture(".tif"), [changes.tiff_changed] * 7),
        Reader("bmp", "x.bmp", _all_saved("BMP", {}, {"mode": "L"}, {"mode": "1"}, {"mode": "P"}), _picture(".bmp")),
        Reader("gif", "x.gif", _all_saved("GIF", {"mode": "P"}, {"mode": "L"}), _picture(".gif")),
        Reader("webp", "x.webp", _all_saved("WEBP", {}, {"lossless": True}, {"mode": "RGBA"}), _picture(".webp")),
        Reader("jpeg2000", "x.jp2", _all_saved("JPEG2000", {}, {"mode": "L"}, {"mode": "I;16"}, {"no_jp2": True}), _picture(".jp2")),
        Reader("ppm", "x.ppm", _all_saved("PPM", {}, {"mode": "L"}, {"mode": "1"}), _picture(".ppm")),
        Reader("tga", "x.tga", _all_saved("TGA", {}, {"mode": "L"}, {"mode": "RGBA"}, {"compression": "tga_rle"}), _picture(".tga")),
        Reader("dicom", "x.dcm", _dicoms("8", "16 window", "rgb", "frames 8", "16 implicit"), _picture(".dcm")),
        Reader("dicom-rle", "x.dcm", _dicoms("8 rle", "16 rle", "rgb rle"), _picture(".dcm")),
        Reader("dicom-jpeg2000", "x.dcm", _dicoms("8 j2k", "16 j2k", "rgb j2k"), _picture(".dcm")),
        Reader("dicom-jpeg", "x.dcm", _dicoms("jpeg8"), _picture(".dcm")),
        Reader("dicom-gdcm", "x.dcm", _dicoms("8 jpegls", "16 jpegls", "8 lossless"), _picture(".dcm")),
    )
}  # fmt: skip
