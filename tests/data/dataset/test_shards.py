"""Shards of webdataset: read where they are, safe against whatever a tar file may hold."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.folders.shard_files import braced, shard_files
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources.shards import Options, prepare
from lmd.data.decode.cache import open_cache
from lmd.data.decode.images import decode_small
from lmd.errors import DataError
from tests import toy
from tests.command import Command, refused

Members = list[tuple[str, bytes]]


def png(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(toy.draw(number % 3, number)).save(file, kind)
    return file.getvalue()


def write(path: Path, members: Members, change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change is not None:
                change(info)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(number: int, **entries: Any) -> Members:
    label = json.dumps({"label": toy.CLASSES[number % 3], "patient": f"p{number // 2}", **entries}).encode()
    return [(f"{number:06d}.png", png(number)), (f"{number:06d}.json", label)]


def shards(folder: Path, names: tuple[str, ...] = ("a-000.tar", "a-001.tar"), each: int = 15) -> Path:
    for place, name in enumerate(names):
        rows = range(place * each, (place + 1) * each)
        write(folder / name, [member for number in rows for member in sample(number)])
    return folder


def made(folder: Path | str, out: Path, **options: Any) -> Dataset:
    return prepare(Options(shards=(str(folder),), fractions=(0.6, 0.2, 0.2), **options), out)


def test_images_of_shards_are_those_of_files(tmp_path: Path) -> None:
    """Nothing is unpacked; the pixels are those of the same bytes in a file."""
    made(shards(tmp_path / "shards"), tmp_path / "data")
    dataset = read_dataset(tmp_path / "data")
    assert len(dataset.table) == 30
    assert dataset.table["file"][16] == "a-001.tar/000016.png"
    assert dataset.table["id"][16] == "000016"
    assert dataset.table["group"].nunique() == 15
    assert (dataset.table.groupby("group")["split"].nunique() == 1).all()
    assert dataset.classes == sorted(toy.CLASSES)
    pixels = open_cache(dataset, 16)
    for row in (0, 16, 29):
        (tmp_path / "one.png").write_bytes(png(row))
        assert np.array_equal(pixels[row], decode_small(tmp_path / "one.png", 16))
    left = [path.suffix for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert ".png" not in left


def test_the_command_trains_inspects_and_evaluates_on_shards(lmd: Command, tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards")
    words = ["prepare", "shards", "--shards", f"{folder}/a-{{000..001}}.tar", "--out", tmp_path / "data"]
    assert lmd(*words, "--fractions", "0.6,0.2,0.2")[0] == 0
    code, out, _ = lmd("inspect", tmp_path / "data")
    assert code == 0
    assert "30" in out
    tiny = ["size=16", "encoder=test_resnet", "pretrained=false", "stage1.epochs=1"]
    settings = [word for text in tiny for word in ("--set", text)]
    run = tmp_path / "run"
    assert (
        lmd("train", tmp_path / "data", "--method", "ce", "--budget", "smoke", *settings, "--out", run)[0]
        == 0
    )
    assert lmd("evaluate", run)[0] == 0
    assert (run / "report.html").is_file()


def test_numbers_in_cls_are_classes_with_names_and_splits_come_from_shards(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        members = [
            member
            for number in range(place * 6, place * 6 + 6)
            for member in [
                (f"./part/{number}.a.jpg", png(number, "JPEG")),
                (f"./part/{number}.cls", b"%d\n" % (number % 3)),
            ]
        ]
        write(tmp_path / "s" / f"{split}-0.tar", members)
    dataset = made(tmp_path / "s", tmp_path / "data", class_names=("nevus,melanoma", "angioma"))
    assert dataset.classes == ["nevus", "melanoma", "angioma"]
    assert dataset.counts("train").tolist() == dataset.counts("test").tolist() == [2, 2, 2]
    assert dataset.table["file"][0] in ("train-0.tar/part/0.a.jpg", "test-0.tar/part/12.a.jpg")
    with pytest.raises(DataError, match=r"--class-names has 2 names, .* label '2' is none of them"):
        made(tmp_path / "s", tmp_path / "other", class_names=("a,b",))


def test_a_key_in_two_shards_gets_its_shard(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write(
            tmp_path / "s" / name, [member for number in range(12) for member in sample(number, shard=name)]
        )
    dataset = made(tmp_path / "s", tmp_path / "data", split="image")
    assert {"a.tar/000003.png", "b.tar/000003.png"} < set(dataset.table["id"])


HOSTILE: list[tuple[Members, str, str]] = [
    ([("../evil.png", b"x")], "", "leads elsewhere"),
    ([("/etc/evil.png", b"x")], "", "leads elsewhere"),
    ([("a/./evil.png", b"x")], "", "leads elsewhere"),
    ([("a\nb.png", b"x")], "", "no printable text"),
    ([("a.png", b"x")], "link", "is a link, a device or a sparse file"),
    ([("a.png", b"x")], "symlink", "is a link, a device or a sparse file"),
    ([("a.png", b"x")], "device", "is a link, a device or a sparse file"),
    ([("a.png", b"x"), ("a.png", b"y")], "", "twice"),
    ([("a.png", b"x"), ("a.PNG", b"y")], "", "twice"),
    ([("a.png", b"x"), ("a.jpg", b"y"), ("a.cls", b"1")], "", "has 2 images"),
    ([("a.cls", b"1")], "", "has no image, but cls"),
    ([("readme.txt", b"1")], "", "has no sample"),
    ([("a.png", b"x"), ("a.json", b"{")], "", "the .json of sample 'a'"),
    ([("a.png", b"x"), ("a.json", b"[1]")], "", "is no object"),
    ([("a.png", b"x"), ("a.cls", b"\xff\xfe")], "", "is not a text"),
    ([("a.png", b"x"), ("a.cls", b"1" * 70000)], "", "more than 65,536 bytes"),
]
KINDS = {"link": tarfile.LNKTYPE, "symlink": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}


@pytest.mark.parametrize(("members", "kind", "told"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_unsafe_or_senseless_is_one_line(
    members: Members, kind: str, told: str, tmp_path: Path
) -> None:
    def change(info: tarfile.TarInfo) -> None:
        if kind:
            info.type, info.linkname, info.size = KINDS[kind], "/etc/passwd", 0

    write(tmp_path / "s" / "a.tar", members, change)
    with pytest.raises(DataError, match=told) as error:
        made(tmp_path / "s", tmp_path / "data")
    assert "\n" not in str(error.value)
    assert "a.tar" in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_shard_that_is_cut_off_anywhere_is_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.tar", sample(0) + sample(1)).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        end = max(member.offset_data + member.size for member in tar)
    path = tmp_path / "s" / "a.tar"
    path.parent.mkdir()
    for cut in range(0, (end + 511) // 512 * 512 + 1, 256):
        path.write_bytes(whole[:cut])
        with pytest.raises(
            DataError, match=r"a\.tar.*(cut off|no sound tar file|cannot be read|no sample)"
        ) as error:
            made(tmp_path / "s", tmp_path / "data")
        assert "\n" not in str(error.value)
    damaged = bytearray(whole)
    damaged[512 * 3 : 512 * 3 + 100] = b"\xff" * 100
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"a\.tar"):
        made(tmp_path / "s", tmp_path / "data")


def test_a_size_beyond_the_file_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "s" / "a.tar", [("a.png", b"x" * 600)])
    with path.open("r+b") as file, tarfile.open(path) as tar:
        info = tar.getmembers()[0]
        info.size = 2**27
        file.write(info.tobuf())
    with pytest.raises(DataError, match="cut off"):
        made(tmp_path / "s", tmp_path / "data")


def test_a_packed_shard_says_what_to_do(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.tar", sample(0)).read_bytes()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match="it is packed: unpack it"):
        made(tmp_path / "s", tmp_path / "data")


def test_a_shard_that_has_changed_is_noticed(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards")
    dataset = made(folder, tmp_path / "data")
    before = open_cache(dataset, 16)[3].copy()
    members = [member for number in range(15) for member in sample(number)]
    members[6] = (members[6][0], png(40))
    write(folder / "a-000.tar", members)
    assert not np.array_equal(open_cache(dataset, 16)[3], before)
    write(folder / "a-000.tar", members[8:])
    with pytest.raises(DataError, match=r"no image .*a-000\.tar/000000\.png"):
        open_cache(dataset, 16)
    (folder / "a-000.tar").unlink()
    with pytest.raises(DataError, match=r"image 'a-000.tar/000000.png' is missing"):
        read_dataset(tmp_path / "data")


@pytest.mark.parametrize(
    "name", ["none.tar", "x-{0..3}.tar", "*.tar", "pipe:cat x.tar", "https://host/x.tar", "a.tgz"]
)
def test_shards_that_are_not_there_are_one_line(name: str, lmd: Command, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"x")
    text = name if ":" in name else str(tmp_path / name)
    refused(lmd("prepare", "shards", "--shards", text, "--out", tmp_path / "data"), "--shards")


def test_braces_are_those_of_a_shell() -> None:
    assert braced("a{0..2}{x,y}") == ["a0x", "a0y", "a1x", "a1y", "a2x", "a2y"]
    assert braced("{098..101}") == ["098", "099", "100", "101"]
    with pytest.raises(DataError, match="more than 100,000"):
        braced("{0..9}{0..999999999}")


def test_a_folder_has_its_shards_once_and_in_order(tmp_path: Path) -> None:
    folder = shards(tmp_path, ("b.tar", "a.tar"), each=1)
    names = [path.name for path in shard_files([str(folder), str(folder / "a.tar")])]
    assert names == ["a.tar", "b.tar"]


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    writer = pytest.importorskip("webdataset", reason="the package webdataset is not installed").ShardWriter
    (tmp_path / "s").mkdir()
    with writer(str(tmp_path / "s" / "set-%06d.tar"), maxcount=10, verbose=0) as sink:
        for number in range(24):
            sink.write(
                {
                    "__key__": f"case{number:04d}",
                    "png": Image.fromarray(toy.draw(number % 3, number)),
                    "cls": number % 3,
                    "json": {"patient": f"p{number // 3}", "age": number, "nested": {"a": 1}},
                }
            )
    dataset = made(tmp_path / "s", tmp_path / "data")
    assert dataset.classes == ["0", "1", "2"]
    assert dataset.table["file"][23] == "set-000002.tar/case0023.png"
    assert dataset.table["age"].tolist() == [str(number) for number in range(24)]
    assert dataset.table["group"].nunique() == 8
    (tmp_path / "one.png").write_bytes(b"")
    Image.fromarray(toy.draw(2, 23)).save(tmp_path / "one.png")
    assert np.array_equal(open_cache(dataset, 16)[23], decode_small(tmp_path / "one.png", 16))


@pytest.mark.parametrize("label", [b"", b" \n", None])
def test_a_sample_without_a_label_is_a_fault_or_is_skipped(
    label: bytes | None, tmp_path: Path, lmd: Command
) -> None:
    """It was a class without a name, and a traceback."""
    members = []
    for number in range(12):
        told = label if number == 7 else str(number % 3).encode()
        members.append((f"{number:03d}.png", png(number)))
        members += [] if told is None else [(f"{number:03d}.cls", told)]
    words = ["prepare", "shards", "--shards", str(write(tmp_path / "in" / "a.tar", members))]
    words += ["--out", str(tmp_path / "data"), "--fractions", "0.5,0.25,0.25"]
    refused(lmd(*words), "has no label in sample '007' (1 such sample; leave it out with --skip-bad)")
    refused(lmd(*words, "--class-names", "ash,elm,fir"), "has no label in sample '007'")
    assert lmd(*words, "--skip-bad", "--class-names", "ash,elm,fir")[0] == 0
    data = read_dataset(tmp_path / "data")
    assert data.classes == ["ash", "elm", "fir"]
    assert len(data.table) == 11
    assert "a.tar/007.png,has no label in sample '007'" in (tmp_path / "data" / "skipped.csv").read_text()


def test_a_label_to_leave_out_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no label 'oak' to leave out with --drop-label"):
        made(shards(tmp_path / "in"), tmp_path / "data", drop_label=("oak",))
