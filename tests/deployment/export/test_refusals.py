"""What cannot be exported is refused in one line, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lmd as package
from lmd.deployment.export import run as exporting
from lmd.deployment.export.agreement import check_agreement
from lmd.deployment.export.images import Sample
from lmd.deployment.export.whole import Whole, whole
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.evaluation.predict import Model
from tests.command import Command, refused
from tests.deployment.export.conftest import Made


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that is not there, in one that has nothing else."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "out"


def test_there_is_no_such_run(lmd: Command, out: Path, tmp_path: Path) -> None:
    refused(lmd("export", tmp_path / "none", "--out", out), "has no trained model: no such run")
    assert nothing_in(out.parent)


def test_a_run_that_has_not_finished(lmd: Command, out: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "half", ignore=shutil.ignore_patterns("model.json"))
    refused(lmd("export", tmp_path / "half", "--out", out), "it has not finished; go on with --resume")
    assert nothing_in(out.parent)


def test_weights_that_were_changed(lmd: Command, out: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "bad")
    weights = tmp_path / "bad" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    refused(lmd("export", tmp_path / "bad", "--out", out), "checksum does not fit")
    assert nothing_in(out.parent)


def test_an_output_folder_that_is_in_use(lmd: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("kept")
    refused(lmd("export", run, "--out", tmp_path / "used"), f"output folder {tmp_path / 'used'} is not empty")
    refused(lmd("export", run, "--out", tmp_path / "used" / "mine.txt"), "is a file: name a folder")
    assert (tmp_path / "used" / "mine.txt").read_text() == "kept"


def test_a_folder_that_cannot_be_made(lmd: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = lmd("export", run, "--format", "torch", "--out", tmp_path / "file" / "out")
    refused(answer, f"cannot write {tmp_path / 'file' / 'out'}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "onyx"], "unknown format 'onyx'; did you mean 'onnx'?"),
        (["--split", "tests"], "unknown split 'tests'; did you mean 'test'?"),
        (
            ["--format", "torch", "--int8"],
            "--int8 makes a second ONNX file: leave it out, or take --format onnx",
        ),
        (["--format", "monai", "--fp16"], "--fp16 makes a second ONNX file"),
        (["--images", "none.png"], "no image none.png"),
        (["--data", "none"], "no dataset folder none; make one with"),
        (["--formt", "onnx"], "did you mean --format?"),
    ],
)
def test_words_that_cannot_be_meant(words: list[str], said: str, lmd: Command, run: Path, out: Path) -> None:
    refused(lmd("export", run, "--out", out, *words), said)
    assert nothing_in(out.parent)


def test_an_image_that_cannot_be_read(lmd: Command, run: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    refused(lmd("export", run, "--out", out, "--images", tmp_path / "bad.png"), "bad.png")
    assert nothing_in(out.parent)


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_a_package_that_is_missing(
    name: str, lmd: Command, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "lmd.deployment.export.asked.find_spec", lambda wanted: None if wanted == name else real(wanted)
    )
    refused(
        lmd("export", run, "--out", out),
        f"--format onnx needs the package '{name}'",
        "pip install -e '.[export]'",
    )
    assert nothing_in(out.parent)


class Looking(torch.nn.Module):
    """An encoder whose path depends on what it sees."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder(images if images.mean() > 0 else -images)


def test_an_encoder_that_cannot_be_followed(
    lmd: Command, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looking(*arguments: Any, **words: Any) -> Whole:
        module = whole(*arguments, **words)
        module.network.encoder = Looking(module.network.encoder)
        return module

    monkeypatch.setattr(exporting, "whole", looking)
    refused(lmd("export", run, "--format", "torch", "--out", out), "encoder 'test_resnet' cannot be exported")
    assert nothing_in(out.parent)


def test_an_operation_that_onnx_has_not(
    lmd: Command, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*arguments: Any, **words: Any) -> Any:
        raise torch.onnx.errors.OnnxExporterError("No ONNX function found for aten.odd\nmore lines")

    monkeypatch.setattr(torch.onnx, "export", odd)
    refused(lmd("export", run, "--out", out), "encoder 'test_resnet' cannot be exported to ONNX", "aten.odd")
    assert nothing_in(out.parent)


def test_an_operation_that_the_loader_refuses(
    lmd: Command, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lmd.deployment.export.load_program._OPERATIONS", importlib.import_module("re").compile("nothing")
    )
    answer = lmd("export", run, "--format", "torch", "--out", out)
    refused(answer, "encoder 'test_resnet' cannot be exported", "it calls", "take --format onnx")
    assert nothing_in(out.parent)


def test_weights_beyond_one_file(lmd: Command, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmd.deployment.export.onnx_file._MOST", 1000)
    refused(lmd("export", run, "--out", out), "too large for one ONNX file (2 GB): take --format torch")
    assert nothing_in(out.parent)


def test_an_export_that_does_not_agree(run: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(self: Whole, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p, d = right(self, images)
        return p, d + 2e-4

    right = Whole.forward
    monkeypatch.setattr(Whole, "forward", off)
    with pytest.raises(CheckpointError, match=r"differs from the network by .* in a probability") as error:
        package.export(run, out=out / "below" / "this", format="torch")
    assert "\n" not in str(error.value)
    assert nothing_in(out.parent)


@pytest.mark.parametrize("by", [2e-4, float("nan"), float("inf")])
@pytest.mark.parametrize("of", [0, 1])
def test_p_and_d_have_to_agree_and_to_be_numbers(by: float, of: int, model: Model) -> None:
    sample = Sample(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), "eight images")
    right = np.full((8, 3), 1 / 3)
    wrong = right.copy()
    wrong[5, 1] += by
    answers = [(wrong, right) if of == 0 else (right, wrong)]

    def answer(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(0, 1) if len(images) == 1 else slice(1, 8)
        return answers[0][0][rows], answers[0][1][rows]

    with pytest.raises(CheckpointError, match="the export differs from the network by"):
        check_agreement("the export", answer, (right, right), (right, right), sample, model.card)
    answers[0] = (right, right)
    assert check_agreement("it", answer, (right, right), (right, right), sample, model.card).p == 0


def test_a_difference_within_rounding_is_let_through(
    run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Whole.forward
    monkeypatch.setattr(
        Whole, "forward", lambda self, images: tuple(one + 5e-5 for one in right(self, images))
    )
    told = package.export(run, out=out, format="torch")
    assert told.agreement.p == pytest.approx(5e-5, abs=1e-6)


def test_variants_need_labels(run: Path, out: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    settings = (moved / "settings.yaml").read_text()
    (moved / "settings.yaml").write_text(settings.replace(str(run.parent / "data"), str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"need labelled images.*name a dataset folder with --data DIR"):
        package.export(moved, out=out, int8=True)
    assert nothing_in(out.parent)


def test_data_with_other_classes(run: Path, out: Path, tmp_path: Path) -> None:
    from tests import toy

    other = toy.make_dataset(tmp_path / "other", classes=["common", "less", "new"])
    with pytest.raises(DataError, match="'new', which the model does not know"):
        package.export(run, out=out, data=other)
    assert nothing_in(out.parent)


def test_a_kind_that_does_not_exist(run: Path, out: Path) -> None:
    with pytest.raises(SettingsError, match="unknown format 'tflite'"):
        package.export(run, out=out, format="tflite")


def test_an_export_is_not_replaced(torch_export: Made, run: Path) -> None:
    before = (torch_export.folder / "model.pt2").read_bytes()
    with pytest.raises(DataError, match="is not empty"):
        package.export(run, out=torch_export.folder, format="torch")
    assert (torch_export.folder / "model.pt2").read_bytes() == before
