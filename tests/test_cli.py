"""The command: the main job from images to predictions, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset.manifest import INFO, MANIFEST
from lmd.models.encoder import build_encoder
from tests import toy
from tests.command import Command, refused
from tests.processes import exit_code

P, D = ([f"{kind}_{name}" for name in ("common", "less", "rare")] for kind in "pd")

TINY = [
    "--set", "encoder=test_resnet", "--set", "pretrained=false", "--set", "size=16", "--set", "batch=8",
    "--set", "stage1.epochs=2",
]  # fmt: skip
TINY_LMD = [
    *TINY, "--set", "iterations=1", "--set", "m_step.virtual_per_class=40", "--set", "m_step.batch=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 87 images."""
    root = tmp_path_factory.mktemp("raw")
    number = 0
    for label, name in enumerate(toy.CLASSES):
        (root / name).mkdir()
        for _ in range(sum(counts[label] for counts in toy.COUNTS.values())):
            Image.fromarray(toy.draw(label, number)).save(root / name / f"{number:03d}.png")
            number += 1
    return root


@pytest.fixture(scope="module")
def data(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder made by the command itself."""
    out = tmp_path_factory.mktemp("prepared") / "data"
    command = [sys.executable, "-m", "lmd", "prepare", "folder", "--root", str(images), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished LMD run."""
    out = tmp_path_factory.mktemp("runs") / "lmd"
    command = [
        sys.executable,
        "-m",
        "lmd",
        "train",
        str(data),
        "--method",
        "lmd",
        "--out",
        str(out),
        *TINY_LMD,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return out


def changed(data: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A copy of a dataset folder whose manifest was changed, with its hash brought up to date."""
    copy = tmp_path / "changed"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("cache"))
    table = change(pd.read_csv(copy / MANIFEST, dtype=str, keep_default_na=False))
    table.to_csv(copy / MANIFEST, index=False, lineterminator="\n")
    return copy


def first_row(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[0, column] = value
        return table

    return change


def test_the_main_job(lmd: Command, run: Path, data: Path, images: Path, tmp_path: Path) -> None:
    code, out, _ = lmd("inspect", data)
    assert code == 0
    assert "87 images, 3 classes" in out
    assert "points of its recall" in out
    for page in ("report.html", "MODEL_CARD.md"):  # `train` leaves them; `evaluate` writes them anew.
        assert (run / page).is_file()
    code, out, _ = lmd("evaluate", run, "--split", "test")
    assert code == 0
    assert "balanced accuracy" in out
    assert (run / "report.html").is_file()
    evaluation = json.loads((run / "evaluation-test.json").read_text())
    predictions = pd.read_csv(run / "predictions-test.csv")
    assert evaluation["n"] == len(predictions) > 0
    assert predictions["group"].str.fullmatch(r"g\d+").all()  # No patient's name in a run folder.
    one = next((images / "rare").iterdir())
    code, out, _ = lmd("predict", run, one, images / "less", "--out", tmp_path / "answers.csv")
    assert code == 0
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert len(answers) == 1 + 20
    assert answers.columns.tolist() == ["id", "predicted", *P, *D, "unlike"]
    for columns in (P, D):
        assert answers[columns].sum(axis=1).tolist() == pytest.approx([1.0] * 21, abs=1e-6)
    assert (answers[D].idxmax(axis=1).str.removeprefix("d_") == answers["predicted"]).all()


def test_a_prediction_for_a_file_is_that_of_the_split(lmd: Command, run: Path, images: Path) -> None:
    lmd("evaluate", run)
    first = pd.read_csv(run / "predictions-test.csv").iloc[0]
    _, out, _ = lmd("predict", run, images / first["id"])
    told = dict(zip(*[line.split(",") for line in out.splitlines()], strict=True))
    assert told["predicted"] == first["predicted"]
    assert float(told["p_rare"]) == pytest.approx(first["p_rare"], abs=1e-4)


def test_methods_and_sources_are_listed(lmd: Command) -> None:
    assert "lmd-literal" in lmd("methods")[1]
    out = lmd("sources")[1]
    assert "isic2019" in out
    assert "--allow-missing" in out


def test_a_run_in_the_place_of_its_data_is_called_one(lmd: Command, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").touch()
    for words in (("inspect", tmp_path), ("train", tmp_path, "--out", tmp_path / "new")):
        refused(lmd(*words), "is the run folder of a training")


def test_a_missing_folder(lmd: Command, tmp_path: Path) -> None:
    refused(lmd("train", tmp_path / "none", "--out", tmp_path / "run"), "no dataset folder", "none")
    refused(lmd("inspect", tmp_path), "not a dataset folder")
    refused(
        lmd("prepare", "folder", "--root", tmp_path / "none", "--out", tmp_path / "d"), "no folder", "none"
    )
    refused(lmd("evaluate", tmp_path / "none"), "no trained model")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "d").exists()


def test_an_empty_class(lmd: Command, images: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    shutil.copytree(images, root)
    (root / "nothing").mkdir()
    refused(lmd("prepare", "folder", "--root", root, "--out", tmp_path / "d"), "'nothing' is empty")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_an_unreadable_image_is_named_or_skipped_and_listed(
    lmd: Command, images: Path, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "raw"
    shutil.copytree(images, root)
    victim = sorted((root / "less").iterdir())[3]
    content = {"truncated": victim.read_bytes()[:300], "empty": b"", "text": b"this is no image"}[damage]
    victim.write_bytes(content)
    arguments = ("prepare", "folder", "--root", root, "--out", tmp_path / "d")
    refused(lmd(*arguments), victim.name, "(1 such image; leave it out with --skip-bad)")
    assert not (tmp_path / "d").exists()
    code, out, _ = lmd(*arguments, "--skip-bad")
    assert code == 0
    assert "86 images" in out
    assert "1 image or row left out" in out
    assert victim.name in (tmp_path / "d" / "skipped.csv").read_text()


def test_predicting_an_unreadable_image(lmd: Command, run: Path, images: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    refused(lmd("predict", run, bad), "bad.jpg is not an image in a known format")
    refused(lmd("predict", run, tmp_path / "none.jpg"), "no image", "none.jpg")
    good = next((images / "rare").iterdir())
    code, out, err = lmd("predict", run, good, bad, "--skip-bad")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "bad.jpg" in err


def test_predicting_a_frame(lmd: Command, run: Path, images: Path, tmp_path: Path) -> None:
    one = next((images / "rare").iterdir())
    with Image.open(one) as still:
        pages = [Image.new("RGB", still.size), still.convert("RGB")]
    pages[0].save(tmp_path / "film.tif", save_all=True, append_images=pages[1:])
    refused(lmd("predict", run, tmp_path / "film.tif"), "film.tif has 2 frames", "--frame N")
    _, expected, _ = lmd("predict", run, one)
    _, out, _ = lmd("predict", run, tmp_path / "film.tif", "--frame", "2")
    assert out.splitlines()[1].split(",")[1:] == expected.splitlines()[1].split(",")[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first_row("label", "comon"), ["label 'comon'", "did you mean 'common'"]),
        (first_row("split", "trian"), ["split 'trian'", "did you mean 'train'"]),
        (first_row("label", ""), ["no label", "row 2"]),
        (lambda t: t.assign(id=["x", "x", *t["id"][2:]]), ["id 'x'", "more than once"]),
        (lambda t: t.drop(columns="group"), ["lacks the column 'group'"]),
        (lambda t: t.iloc[:0], ["no images"]),
        (
            lambda t: t.assign(
                file=[t["file"][len(t) - 1], *t["file"][1:]], split=["train", *t["split"][1:-1], "test"]
            ),
            ["in more than one split"],
        ),
        (
            lambda t: t.assign(
                group=["g", *t["group"][1:-1], "g"], split=["train", *t["split"][1:-1], "test"]
            ),
            ["group 'g'", "more than one split"],
        ),
        (
            lambda t: t[(t["label"] != "rare") | (t["split"] != "train")],
            ["class 'rare' has no training image"],
        ),
        (lambda t: t[t["label"] != "rare"], ["class 'rare' is empty"]),
        (first_row("group", "another"), ["was changed after it was made"]),
    ],
)
def test_an_unsound_manifest(
    lmd: Command, data: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], words: list[str]
) -> None:
    folder = changed(data, tmp_path, change)
    refused(lmd("train", folder, "--out", tmp_path / "run", *TINY), *words)
    assert not (tmp_path / "run").exists()


def test_damaged_dataset_json_and_missing_images(lmd: Command, images: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "raw", tmp_path / "d"
    shutil.copytree(images, root)
    lmd("prepare", "folder", "--root", root, "--out", out)
    victim = sorted((root / "less").iterdir())[0]
    victim.unlink()
    refused(
        lmd("train", out, "--out", tmp_path / "run", *TINY), victim.name, "is missing", "1 missing in all"
    )
    (out / INFO).write_text("{")
    refused(lmd("inspect", out), INFO, "is damaged")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "lmdd"], ["unknown method 'lmdd'", "did you mean 'lmd'"]),
        (["--set", "stage1.epoch=3"], ["'stage1.epoch'", "did you mean 'stage1.epochs'"]),
        (["--set", "stage1.epochs=-3"], ["stage1.epochs", "-3"]),
        (["--set", "precision=bf16"], ["bf16", "32 pixels"]),
        (["--budget", "shrot"], ["unknown budget", "'short'"]),
        (["--weights", "none.safetensors"], ["no weights file none.safetensors"]),
        (["--recipe", "none.yaml"], ["cannot read recipe none.yaml"]),
        (["--set", "encoder=resnet_18"], ["unknown encoder", "did you mean 'resnet18'"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_wrong_arguments_of_train(
    lmd: Command, data: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    refused(lmd("train", data, "--out", tmp_path / "run", *TINY, *arguments), *words)
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit(lmd: Command, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    other = tmp_path / "w.safetensors"
    save_file(dict(build_encoder("test_vit").state_dict()), other)
    refused(lmd("train", data, "--out", tmp_path / "run", *TINY, "--weights", other), "w.safetensors")
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_another_method(lmd: Command, data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("method: ce\nsize: 16\n")
    refused(
        lmd("train", data, "--out", tmp_path / "run", "--method", "lmd", "--recipe", recipe), "'ce'", "'lmd'"
    )


def test_output_folders_in_use(lmd: Command, data: Path, images: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    refused(lmd("train", data, "--out", tmp_path, *TINY), "not empty")
    refused(lmd("prepare", "folder", "--root", images, "--out", tmp_path), "not empty")
    refused(lmd("prepare", "phantom", "--out", tmp_path), "not empty")
    refused(
        lmd("predict", run, next((images / "rare").iterdir()), "--out", tmp_path / "mine.txt"),
        "exists already",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_unknown_sources_and_options(lmd: Command, tmp_path: Path) -> None:
    refused(lmd("prepare", "isic2091", "--out", tmp_path / "d"), "unknown source", "did you mean 'isic2019'")
    refused(
        lmd("prepare", "phantom", "--out", tmp_path / "d", "--imges", 9),
        "phantom has no option --imges",
        "did you mean --images?",
    )
    refused(lmd("prepare", "phantom", "--out", tmp_path / "d", "--images", 3), "--images 3", "at least 8")
    refused(lmd("prepare", "phantom", "--out", tmp_path / "d", "--fractions", "0.5,0.5,0.5"), "add up to 1")
    refused(lmd("prepare", "folder", "--out", tmp_path / "d"), "prepare folder needs --root")
    refused(lmd("prepare", "phantom", "stray", "--out", tmp_path / "d"), "unexpected argument 'stray'")


def test_an_unknown_split_and_an_unfinished_run(lmd: Command, run: Path, tmp_path: Path) -> None:
    refused(lmd("evaluate", run, "--split", "tset"), "unknown split 'tset'", "did you mean 'test'")
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(run / "settings.yaml", half)
    refused(lmd("evaluate", half), "has not finished", "--resume")


def test_damaged_models_are_one_line(lmd: Command, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "model" / "model.safetensors").write_bytes(b"damaged")
    refused(lmd("evaluate", copy), "cannot read", "model.safetensors")
    (copy / "model" / "model.json").write_text("{")
    refused(lmd("evaluate", copy), "model.json is damaged")


def test_resume_without_further_words_takes_the_saved_settings(lmd: Command, data: Path, run: Path) -> None:
    code, out, _ = lmd("train", data, "--out", run, "--resume")
    assert code == 0
    assert str(run) in out
    refused(lmd("train", data, "--out", run, "--resume", "--method", "ce", *TINY), "other settings", "method")


def on_a_full_disk(limit: int, folder: Path, told: Path, arguments: list[str]) -> None:
    """Runs the command in a folder, with no file larger than `limit` KiB; its errors go to the file `told`."""
    from lmd import cli

    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * limit, 1024 * limit))
    os.chdir(folder)
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    sys.argv = ["lmd", *arguments]
    cli.main()


@pytest.mark.parametrize(("size", "limit", "victim"), [(16, 64, "state.safetensors"), (24, 64, "cache")])
def test_a_full_disk_while_saving_leaves_nothing_half_written(
    data: Path, run: Path, tmp_path: Path, size: int, limit: int, victim: str
) -> None:
    """A limit on file sizes stands in for the full disk: the same OSError at the same place.

    The run fixture has filled the cache of 16 pixels, so that at this size the checkpoint is what fails.
    """
    arguments = ["train", str(data), "--method", "ce", "--out", "run", *TINY, "--set", f"size={size}"]
    told = data.with_name(f"told-{victim}")
    assert exit_code(on_a_full_disk, limit, tmp_path, told, arguments) == 2
    errors = told.read_text()
    assert "Traceback" not in errors
    assert "cannot write" in errors
    assert victim in errors
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {"settings.yaml", "environment.json", "images.json", "metrics.jsonl"}, left
    assert not [path for path in (data / "cache").iterdir() if path.name.startswith(".")]
