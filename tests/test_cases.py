"""The cases from the field (../shared/cases), made again by code, through the command: exit codes and words.

G1, G2 and G4 (pixels) are in tests/data/decode. F1 and J1 belong to small data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.checks import crossing_groups
from lmd.data.dataset.manifest import read_dataset
from tests.command import Command, refused
from tests.messy import Messy, cases, persons, picture, written


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


def table(messy: Messy, lmd: Command, columns: dict[str, list[str]], *more: str) -> tuple[int, str, str]:
    path = written(messy.path / "cases.csv", columns)
    return lmd("prepare", "table", "--table", path, "--root", messy.root, *more, "--out", messy.out)


def test_a1_patient_id_column_unseen(messy: Messy, lmd: Command) -> None:
    columns = {"Image Index": cases()["image"], "Finding Labels": cases()["label"], "Patient ID": persons()}
    code, _, _ = table(
        messy, lmd, columns, "--image-column", "Image Index", "--label-column", "Finding Labels"
    )
    assert code == 0
    assert crossing_groups(read_dataset(messy.out).table) == []
    assert read_dataset(messy.out).table["group"].nunique() == 6
    assert lmd("inspect", messy.out, "--no-page", "--strict")[0] == 0


def test_a2_split_patient_without_group(messy: Messy, lmd: Command) -> None:
    assert table(messy, lmd, cases(subject_id=persons()), "--split", "patient")[0] == 0
    assert read_dataset(messy.out).table["group"].nunique() == 6
    other = Messy(messy.path / "other", messy.log)
    refused(
        table(other, lmd, cases(who=persons()), "--split", "patient"),
        "--split patient needs a column",
        "'who'",
    )


def test_a4_same_patient_spelled_twice(messy: Messy, lmd: Command) -> None:
    ids = [f"p{row // 4}" if row % 2 else f"P{row // 4}.0" for row in range(24)]
    refused(
        table(messy, lmd, cases(patient_id=ids)), "'P0.0' (row 2) and 'p0' (row 3)", "--similar-ids merge"
    )
    assert table(messy, lmd, cases(patient_id=ids), "--similar-ids", "merge")[0] == 0
    assert read_dataset(messy.out).table["group"].nunique() == 6


def test_a5_unknown_patient(messy: Messy, lmd: Command) -> None:
    ids = ["unknown"] * 16 + ["P1"] * 4 + ["P2"] * 4
    assert table(messy, lmd, cases(patient_id=ids))[0] == 0
    assert "16 of 24 images have no known patient" in messy.told()
    assert read_dataset(messy.out).table["group"].nunique() == 18


def test_b1_two_label_columns(messy: Messy, lmd: Command) -> None:
    columns = {"image": cases()["image"], "diagnosis": ["unknown", "nevus"] * 12, "target": ["1", "0"] * 12}
    refused(table(messy, lmd, columns), "'diagnosis' and 'target'", "--label-column")


def test_c1_labels_int_and_float(messy: Messy, lmd: Command) -> None:
    refused(table(messy, lmd, cases(label=["0", "1", "1.0", "0.0"] * 6)), "'0' (row 2) and '0.0' (row 5)")


def test_c3_nan_label(messy: Messy, lmd: Command) -> None:
    assert table(messy, lmd, cases(label=["nevus", "mel", "nan", "n/a", "?", "None"] * 4))[0] == 0
    assert "'nan' 4, 'n/a' 4, '?' 4, 'None' 4" in messy.told()


@pytest.mark.parametrize(
    "names",
    [
        ("train_set", "test_set"),
        ("train_data", "test_data"),
        ("seg_train", "seg_test"),
        ("1_train", "3_test"),
    ],
)
def test_d1_train_set_test_set(messy: Messy, lmd: Command, names: tuple[str, str]) -> None:
    for number in range(20):
        picture(
            messy.path / "R" / names[number // 2 % 2] / ("melanoma", "nevus")[number % 2] / f"{number}.png",
            number,
        )
    assert lmd("prepare", "folder", "--root", messy.path / "R", "--out", messy.out)[0] == 0
    assert read_dataset(messy.out).classes == ["melanoma", "nevus"]
    assert len(read_dataset(messy.out).split("test")) == 10


def test_e1_half_the_images_unseen(messy: Messy, lmd: Command) -> None:
    for number in range(24):
        path = picture(messy.path / "R" / "ab"[number % 2] / f"{number}.jpg", number)
        path.rename(path.with_suffix(".jfif" if number < 12 else ".jpg"))
    assert lmd("prepare", "folder", "--root", messy.path / "R", "--out", messy.out)[0] == 0
    assert len(read_dataset(messy.out).table) == 24


def test_g5_12bit_png_few_levels(messy: Messy, lmd: Command) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        path = messy.path / "R" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 4096, (32, 32), np.uint16)).save(path)
    code, _, err = lmd("prepare", "folder", "--root", messy.path / "R", "--out", messy.out)
    assert code == 0
    assert "12 bits" in err + messy.told()
    assert "12 bits" in lmd("inspect", messy.out, "--no-page")[1]


def test_h1_empty_test(messy: Messy, lmd: Command) -> None:
    assert table(messy, lmd, cases(patient_id=["P0"] * 24))[0] == 0
    assert "validation" in messy.told()
    assert "the test" in messy.told()
    assert "nothing can be evaluated" in messy.told()


def test_i1_transformer_size(messy: Messy, lmd: Command) -> None:
    assert table(messy, lmd, cases(patient_id=persons()))[0] == 0
    settings = ["pretrained=false", "size=64", "encoder=vit_tiny_patch16_224", "stage1.epochs=1"]
    flags = [word for setting in settings for word in ("--set", setting)]
    code, _, err = lmd(
        "train", messy.out, "--method", "ce", "--budget", "smoke", *flags, "--out", messy.path / "RUN"
    )
    assert code == 0, err
    flags = [word.replace("vit_tiny_patch16_224", "inception_v4").replace("=64", "=32") for word in flags]
    answer = lmd(
        "train", messy.out, "--method", "ce", "--budget", "smoke", *flags, "--out", messy.path / "RUN2"
    )
    refused(answer, "inception_v4")
    assert not (messy.path / "RUN2").exists()


def test_i2_slurm_ntasks(messy: Messy, lmd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch job that asked for four tasks starts one process; a step of four tasks starts four."""
    assert table(messy, lmd, cases(patient_id=persons()))[0] == 0
    settings = ["pretrained=false", "size=32", "encoder=test_resnet", "stage1.epochs=1"]
    flags = [word for setting in settings for word in ("--set", setting)]
    train = ("train", messy.out, "--method", "ce", "--budget", "smoke", *flags, "--out")
    job = {"JOB_ID": "1", "JOB_NAME": "job", "NTASKS": "4", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**job, "NODELIST": "n1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    code, _, err = lmd(*train, messy.path / "RUN")
    assert code == 0, err
    assert (messy.path / "RUN" / "model" / "model.json").is_file()
    assert lmd("evaluate", messy.path / "RUN", "--split", "train")[0] == 0
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    for words in (("evaluate", messy.path / "RUN"), ("demo",), ("predict", messy.path / "RUN", messy.root)):
        refused(lmd(*words), "SLURM_STEP_NUM_TASKS = 4", "srun --ntasks=1")
    assert not (messy.path / "RUN2").exists()


@pytest.mark.parametrize("labels", [["nevus", "melanoma"] * 12, ["nevus"] * 24])
def test_k1_external_test_only(messy: Messy, lmd: Command, labels: list[str]) -> None:
    assert table(messy, lmd, cases(label=labels, split=["test"] * 24))[0] == 0
    assert len(read_dataset(messy.out).split("test")) == 24


def test_m1_subfolder_ids(messy: Messy, lmd: Command) -> None:
    other = Messy(messy.path / "ham", messy.log, 0)
    assert table(other, lmd, other.like_ham10000())[0] == 0
    assert len(read_dataset(other.out).table) == 24
