"""16-bit images that use fewer bits: told by `prepare` and `inspect`, stretched with --bits, everywhere alike."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import lmd
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.decode.cache import open_cache, read_as
from lmd.data.decode.images import decode, decode_small, examine, verify
from lmd.errors import DataError
from lmd.evaluation.predict import Model, predict_files, predict_split
from lmd.model_card import Preprocessing
from tests import toy
from tests.command import Command, refused
from tests.evaluation.test_predict import model_of

SAID = "the images of 16 bits or more use 12 bits only (largest value 4,000): they come out dark; --bits 12 stretches them"


def twelve_bits(root: Path, top: int = 4000, count: int = 6) -> Path:
    """Three classes of 12-bit pictures in 16-bit PNG."""
    for label, name in enumerate("abc"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            values = np.random.default_rng(10 * label + number).integers(0, top, (24, 20)).astype(np.uint16)
            values[0, 0] = top
            Image.fromarray(values).save(root / name / f"{number}.png")
    return root


def stretched(path: Path, bits: int) -> np.ndarray:
    """What has to be shown: 0 to the largest value of so many bits as 0 to 255, rounded."""
    values = np.asarray(Image.open(path)).astype(np.float64)
    return np.floor(values / (2**bits - 1) * 255 + 0.5)


def test_prepare_and_inspect_tell_it(lmd: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = twelve_bits(tmp_path / "raw")
    assert lmd("prepare", "folder", "--root", root, "--out", tmp_path / "data")[0] == 0
    assert SAID in caplog.messages
    code, out, _ = lmd("inspect", tmp_path / "data", "--no-page", "--json", tmp_path / "found.json")
    assert code == 0
    assert SAID in out.splitlines()
    assert json.loads((tmp_path / "found.json").read_text())["files"]["largest_of_16_bits"] == 4000


def test_it_is_not_told_where_it_is_not_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lmd: Command
) -> None:
    """One image of 16 bits is enough; 8 bits, and files that name their bits, do not count."""
    paths = sorted(twelve_bits(tmp_path / "raw").rglob("*.png"))
    Image.fromarray(np.full((5, 5), 40_000, np.uint16)).save(tmp_path / "full.png")
    Image.fromarray(np.full((5, 5), 7, np.uint8)).save(tmp_path / "eight.png")
    (tmp_path / "named.pgm").write_bytes(b"P5 2 1 4095\n" + bytes((15, 0, 1, 0)))
    for files in ([*paths, tmp_path / "full.png"], [tmp_path / "eight.png"], [tmp_path / "named.pgm"]):
        assert verify(files) == {}
    assert verify(paths, bits=12) == {}
    assert caplog.messages == []
    assert verify([*paths, tmp_path / "eight.png"]) == {}
    assert SAID in caplog.messages


@pytest.mark.parametrize("bits", [12, 13, 16])
def test_bits_stretch_the_images(tmp_path: Path, bits: int) -> None:
    path = twelve_bits(tmp_path / "raw", count=1) / "a" / "0.png"
    wanted = stretched(path, bits)
    np.testing.assert_array_equal(decode(path, bits=bits)[..., 0], wanted)
    values = np.asarray(Image.open(path))
    for name, options in (("grey.tif", {}), ("white.tif", {"photometric": "miniswhite"})):
        tifffile.imwrite(tmp_path / name, values, **options)
    np.testing.assert_array_equal(decode(tmp_path / "grey.tif", bits=bits)[..., 0], wanted)
    np.testing.assert_array_equal(decode(tmp_path / "white.tif", bits=bits)[..., 0], 255 - wanted)
    tifffile.imwrite(tmp_path / "rgb.tif", np.repeat(values[..., None], 3, axis=2), photometric="rgb")
    np.testing.assert_array_equal(decode(tmp_path / "rgb.tif", bits=bits)[..., 1], wanted)


def test_bits_are_for_sixteen_bit_images_alone(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 5, 3), 77, np.uint8)).save(tmp_path / "rgb.png")
    (tmp_path / "named.pgm").write_bytes(b"P5 2 1 4095\n" + bytes((15, 255, 0, 0)))
    assert decode(tmp_path / "rgb.png", bits=12).max() == 77
    assert decode(tmp_path / "named.pgm", bits=8)[0, :, 0].tolist() == [255, 0]


def test_values_beyond_the_bits_are_refused(lmd: Command, tmp_path: Path) -> None:
    root = twelve_bits(tmp_path / "raw")
    result = lmd("prepare", "folder", "--root", root, "--out", tmp_path / "data", "--bits", 11)
    refused(result, "0.png", "it has the value 4,000, and --bits 11 allows 2,047 at most", "say --bits 12")
    for wrong in (7, 17):
        result = lmd("prepare", "folder", "--root", root, "--out", tmp_path / "data", "--bits", wrong)
        refused(result, f"--bits {wrong}: must be at ")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("colour", [2, 4, 6], ids=["RGB", "grey with alpha", "RGB with alpha"])
def test_sixteen_bit_colours_of_a_png(tmp_path: Path, colour: int) -> None:
    """They are told and stretched as grey ones are; 8 bits of 12 are more than the upper 4."""
    from tests.data.decode.test_matrix_formats import packed, png

    count = {2: 3, 4: 2, 6: 4}[colour]
    values = np.random.default_rng(0).integers(0, 4001, (37, 50, count)).astype(np.uint16)
    values[0, 0] = 4000
    hidden = count in (2, 4)
    if hidden:
        values[..., -1] = np.random.default_rng(1).integers(0, 65536, (37, 50))
    (tmp_path / "x.png").write_bytes(png(packed(values, 16), 16, colour))
    grey = values[..., : count - hidden] / 4095 * 255
    wanted = grey * (values[..., -1:] / 65535 if hidden else 1)
    found = decode(tmp_path / "x.png", bits=12)
    assert np.abs(found - wanted).max() <= 1.5  # Three values are rounded: a colour, its alpha, both.
    assert np.ptp(found) > 200
    assert examine(tmp_path / "x.png", 8)[1] == 4000
    with pytest.raises(DataError, match=r"it has the value 4,000, and --bits 11 allows 2,047 at most"):
        decode(tmp_path / "x.png", bits=11)


def test_the_clear_colour_of_a_stretched_png(tmp_path: Path) -> None:
    from tests.data.decode.test_matrix_formats import chunk, packed, png

    values = np.full((37, 50, 3), 3000, np.uint16)
    values[0, 0], values[0, 1] = (4095, 1, 2), (4095, 1, 3)
    clear = chunk(b"tRNS", np.array([4095, 1, 2], ">u2").tobytes())
    (tmp_path / "x.png").write_bytes(png(packed(values, 16), 16, 2, clear))
    assert decode(tmp_path / "x.png", bits=12)[0, :3].tolist() == [[0, 0, 0], [255, 0, 0], [187, 187, 187]]


@pytest.mark.parametrize("name", ["x.ppm", "x.tif", "x.jp2", "long.pgm"])
def test_sixteen_bit_colours_of_other_files(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.random.default_rng(0).integers(0, 4001, (8, 10, 3)).astype(np.uint16)
    values[0, 0] = 4000
    path = tmp_path / name
    if name == "x.tif":
        tifffile.imwrite(path, values, photometric="rgb")
    elif name == "x.jp2":
        path.write_bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True))
    elif name == "x.ppm":
        path.write_bytes(b"P6\n#" + b"c" * 700 + b"\n10 8\n65535\n" + values.astype(">u2").tobytes())
    else:
        values = np.repeat(values[..., :1], 3, axis=2)
        grey = values[..., 0].astype(">u2").tobytes()
        path.write_bytes(b"P5\n#" + b"c" * 700 + b"\n10 8\n65535\n" + grey)
    np.testing.assert_array_equal(decode(path, bits=12), np.floor(values / 4095 * 255 + 0.5))
    assert verify([path]) == {}
    assert SAID in caplog.messages


def test_where_bits_cannot_help_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P3 1 1 65535 1000 2000 3000")
    with pytest.raises(
        DataError, match=r"its colours have 16 bits, of which --bits cannot stretch .* as TIFF"
    ):
        decode(tmp_path / "x.ppm", bits=12)


def test_bits_leave_ordinary_files_alone(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8))
    for name in ("x.jpg", "x.bmp", "x.webp", "x.gif", "x.tif", "x.jp2", "x.tga"):
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(decode(tmp_path / name, bits=12), decode(tmp_path / name))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Dataset, Dataset]:
    """The same images, prepared without and with --bits 12."""
    root = twelve_bits(tmp_path / "raw")
    plain = lmd.prepare("folder", tmp_path / "plain", root=root)
    return plain, lmd.prepare("folder", tmp_path / "bits", root=root, bits=12)


def test_the_recipe_and_the_cache_keep_it(folders: tuple[Dataset, Dataset]) -> None:
    plain, wide = folders
    assert "bits" not in plain.info.recipe
    assert wide.info.recipe["bits"] == 12
    for dataset, bits in ((plain, None), (wide, 12)):
        wanted = [decode_small(path, 8, bits=bits) for path in dataset.paths()]
        np.testing.assert_array_equal(open_cache(dataset, 8), np.stack(wanted))
    assert open_cache(wide, 8).mean() > 10 * open_cache(plain, 8).mean()


def test_other_bits_make_another_cache(folders: tuple[Dataset, Dataset]) -> None:
    made = []
    for dataset in folders:
        open_cache(dataset, 8)
        made += [path.name for path in (dataset.folder / "cache").glob("8-none-*.npy")]
    assert len(set(made)) == 2


def test_a_look_with_other_bits_is_another_look(folders: tuple[Dataset, Dataset]) -> None:
    plain, wide = folders
    first = lmd.inspect(plain).files
    assert first is not None
    assert first.largest_of_16_bits == 4000
    second = lmd.inspect(wide).files
    assert second is not None
    assert second.largest_of_16_bits is None
    assert [path.name for path in (plain.folder / "cache").glob("looks*")] == ["looks-3.npy"]
    assert [path.name for path in (wide.folder / "cache").glob("looks*")] == ["looks-3-bits12.npy"]


def with_bits(bits: int | None) -> Model:
    model = model_of()
    preprocessing = Preprocessing(**{**model.card.preprocessing.model_dump(), "bits": bits})
    return Model(model.network, model.card.model_copy(update={"preprocessing": preprocessing}), model.runtime)


def test_a_model_reads_files_as_it_was_trained(tmp_path: Path) -> None:
    """A 12-bit file and the same picture with 8 bits get the same answer from a model of 12 bits."""
    deep = twelve_bits(tmp_path / "raw", count=1) / "a" / "0.png"
    Image.fromarray(stretched(deep, 12).astype(np.uint8)).save(tmp_path / "eight.png")
    for bits, same in ((12, True), (None, False)):
        answers, _ = predict_files(with_bits(bits), [deep, tmp_path / "eight.png"])
        probabilities = answers[[f"p_{name}" for name in toy.CLASSES]].to_numpy()
        assert np.allclose(probabilities[0], probabilities[1], atol=1e-6) == same


def test_a_data_set_is_evaluated_as_the_model_was_trained(folders: tuple[Dataset, Dataset]) -> None:
    """Whatever the recipe of the data set says."""
    plain, wide = folders
    card_classes = {"classes": plain.classes}
    answers = []
    for bits in (None, 12):
        model = with_bits(bits)
        model = Model(model.network, model.card.model_copy(update=card_classes), model.runtime)
        rows = [predict_split(model, dataset, "test") for dataset in (plain, wide)]
        assert rows[0].equals(rows[1])
        answers.append(rows[0])
    assert not answers[0].equals(answers[1])
    assert read_as(wide, None).info.recipe == {key: wide.info.recipe[key] for key in plain.info.recipe}


def test_a_run_writes_it_into_model_json(folders: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    settings = {**toy.recipe("ce"), "encoder": "test_resnet"}
    for dataset, bits in zip(folders, (None, 12), strict=True):
        run = tmp_path / f"run-{bits}"
        folder = lmd.train(read_dataset(dataset.folder), out=run, method="ce", settings=settings)
        card = json.loads(folder.model.read_text())
        assert card["preprocessing"]["bits"] == bits


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_wide_values_of_few_bits_are_told_and_stretched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type
) -> None:
    """One image up to 250 and one up to 1,351 would differ in brightness without a word."""
    values = np.arange(400).reshape(20, 20)
    for number, top in enumerate((250, 1351)):
        tifffile.imwrite(tmp_path / f"{number}.tif", (values * top // 399).astype(kind))
    paths = sorted(tmp_path.glob("*.tif"))
    assert verify(paths) == {}
    assert "use 11 bits only (largest value 1,351)" in caplog.text
    caplog.clear()
    assert verify(paths, bits=11) == {}
    assert caplog.messages == []
    assert [int(decode(path, bits=11).max()) for path in paths] == [31, 168]
    with pytest.raises(DataError, match="it has the value 1,351, and --bits 10 allows 1,023"):
        decode(paths[1], bits=10)
