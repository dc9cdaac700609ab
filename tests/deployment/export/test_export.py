"""Exports answer as `lmd predict` does, with any number of images, and say what they are."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import runpy
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lmd
from lmd.deployment.export.onnx_file import answering
from lmd.evaluation.predict import Model
from tests import toy
from tests.command import Command
from tests.deployment.export.conftest import Made

ROOT = Path(__file__).parents[3]


def wanted(model: Model, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """p and d of some files, as `predict` has them."""
    table = model.predict(files)
    p, d = (table[[f"{kind}_{name}" for name in toy.CLASSES]].to_numpy() for kind in "pd")
    assert np.abs(p - d).max() > 0.01
    return p, d


def loader(folder: Path) -> Any:
    """The load.py of an export, as a program without lmd has it."""
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_onnx_answers_as_predict_does(
    onnx_export: Made, model: Model, files: list[Path], pixels: torch.Tensor
) -> None:
    answer = answering(onnx_export.folder / "model.onnx")
    for batch in (1, 2, 9):
        found = [answer(part) for part in pixels.split(batch)]
        for kind in (0, 1):
            joined = np.concatenate([one[kind] for one in found])
            np.testing.assert_allclose(joined, wanted(model, files)[kind], atol=1e-5)


def test_torch_answers_as_predict_does(
    torch_export: Made, model: Model, files: list[Path], pixels: torch.Tensor
) -> None:
    module = loader(torch_export.folder)
    network, about = module.load(torch_export.folder / "model.pt2")
    for batch in (1, 2, 9):
        found = [network(part) for part in pixels.split(batch)]
        for kind in (0, 1):
            joined = torch.cat([one[kind] for one in found]).numpy()
            np.testing.assert_allclose(joined, wanted(model, files)[kind], atol=1e-5)
    assert about["classes"] == toy.CLASSES
    assert about["card"]["encoder"] == "test_resnet"


def test_onnx_says_what_it_is(onnx_export: Made, run: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(onnx_export.folder / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == toy.CLASSES
    assert json.loads(about["card"])["outputs"]["tau"] == 0.5
    assert json.loads(about["weights_sha256"]) == [
        hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()
    ]
    assert about["notice"].startswith("For research. Not a medical device")
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["N", 3, 16, 16])
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("p", ["N", 3]), ("d", ["N", 3])]


@pytest.mark.parametrize("kind", ["onnx", "torch", "monai"])
def test_export_json_has_the_files_and_how_it_was_verified(kind: str, request: Any) -> None:
    made: Made = request.getfixturevalue(f"{kind}_export")
    told = json.loads((made.folder / "export.json").read_text())
    for name, checksum in told["files"].items():
        assert hashlib.sha256((made.folder / name).read_bytes()).hexdigest() == checksum
    agreement = told["agreement"]
    assert agreement["images"] == "15 validation images of toy"
    assert agreement["batches"] == [1, 7]
    assert 0 < max(agreement["p"], agreement["d"]) < 1e-5
    assert agreement["of_predict"] < 1e-5
    assert (told["kind"], told["models"], told["classes"]) == (kind, 1, toy.CLASSES)


@pytest.mark.parametrize("kind", ["onnx", "torch", "monai"])
def test_the_page_is_true(kind: str, request: Any) -> None:
    made: Made = request.getfixturevalue(f"{kind}_export")
    page = (made.folder / ("docs/README.md" if kind == "monai" else "README.md")).read_text()
    assert "# ce on toy\n\nFor research. Not a medical device" in page
    assert f"difference to the network is {max(made.told.agreement.p, made.told.agreement.d):.1e}" in page
    assert "shifted to rare classes, tau 0.5" in page
    assert "| 2 | rare | tail | 5 |" in page
    names = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    there = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file()}
    assert set(names) == there - {"README.md", "docs/README.md", "scripts/__init__.py"}


@pytest.mark.parametrize("kind", ["onnx", "torch", "monai"])
def test_no_file_knows_where_it_was_made(kind: str, request: Any, run: Path) -> None:
    made: Made = request.getfixturevalue(f"{kind}_export")
    places = [str(place).encode() for place in (run.parent, Path(torch.__file__).parent, ROOT)]
    for path in made.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [place for place in places if place in content], path


def test_a_bundle_answers_as_predict_does(
    monai_export: Made, model: Model, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own code, without MONAI: tests/deployment/export/test_monai.py has the whole."""
    monkeypatch.syspath_prepend(str(monai_export.folder))
    network = importlib.import_module("scripts.network")
    try:
        images = [torch.from_numpy(np.array(network.small(_opened(file), 16, "none"))) for file in files]
        batches = [{"image": one.permute(2, 0, 1)[None].float()} for one in images]
        probabilities = network.Probabilities(str(monai_export.folder / "models" / "model.pt2"))
        rows = [{"image": str(file)} for file in files]
        network.write_answers(probabilities, batches, rows, toy.CLASSES, str(tmp_path / "answers.csv"))
        decides = network.Probabilities(str(monai_export.folder / "models" / "model.pt2"), "d")
        np.testing.assert_allclose(decides(batches[0]["image"])[0], wanted(model, files)[1][0], atol=1e-5)
    finally:
        for name in ("scripts", "scripts.network", "scripts.load"):
            sys.modules.pop(name, None)
    found, told = pd.read_csv(tmp_path / "answers.csv"), model.predict(files)
    assert found["id"].tolist() == [str(file) for file in files]
    assert found["predicted"].tolist() == told["predicted"].tolist()
    columns = [name for name in told if name[:2] in ("p_", "d_")]
    np.testing.assert_allclose(found[columns], told[columns], atol=1e-5)


def _opened(file: Path) -> Any:
    from PIL import Image

    return Image.open(file)


def test_the_example_needs_no_lmd(
    onnx_export: Made,
    model: Model,
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = ROOT / "examples" / "exported_onnx.py"
    assert "import lmd" not in script.read_text()
    assert "import torch" not in script.read_text()
    argv = [str(script), str(onnx_export.folder / "model.onnx"), *map(str, files[::4])]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(str(script))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("For research. Not a medical device")
    table = model.predict(files[::4])
    for place, row in table.iterrows():
        said = lines[1 + 4 * int(str(place)) :][:4]
        assert said[0] == f"{row['id']}: {row['predicted']}"
        shares = {line.split()[1]: float(line.split()[0]) for line in said[1:]}
        assert list(shares) == sorted(shares, key=lambda name: -shares[name])
        assert shares == pytest.approx({name: row[f"p_{name}"] for name in toy.CLASSES}, abs=1e-4)


def test_named_images_take_the_place_of_the_data_set(run: Path, files: list[Path], tmp_path: Path) -> None:
    told = lmd.export(run, out=tmp_path / "out", format="torch", images=files[:3])
    assert told.agreement.images == "3 images named by --images"
    assert told.agreement.batches == [1, 7]
    assert "in batches of 1 and 7" in told.agreement.line()


def test_a_run_of_an_earlier_version_in_bf16_is_exported_in_fp32(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    toy.as_earlier(tmp_path / "run", precision="bf16")
    told = lmd.export(tmp_path / "run", format="torch")
    assert told.agreement.precision == "bf16"
    assert told.agreement.p < 1e-5 < 1e-4 < told.agreement.of_predict
    page = (tmp_path / "run" / "export-torch" / "README.md").read_text()
    assert f"differ by up to {told.agreement.of_predict:.1e} from those of the export" in page
    assert "They are equal to p" in page


def test_without_images_phantoms_are_drawn_and_it_is_said(
    run: Path, tmp_path: Path, lmd: Command, caplog: pytest.LogCaptureFixture
) -> None:
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    settings = (moved / "settings.yaml").read_text()
    (moved / "settings.yaml").write_text(settings.replace(str(run.parent / "data"), str(tmp_path / "gone")))
    code, out, _ = lmd("export", moved, "--format", "torch")
    assert code == 0
    assert "verified on drawn phantoms, not on real images: the data set of" in caplog.text
    assert "verified on 40 drawn phantoms, not on real images, in batches" in out
    assert str(tmp_path) not in (moved / "export-torch" / "README.md").read_text()
    assert str(tmp_path) not in (moved / "export-torch" / "export.json").read_text()
    assert "in batches of 1, 7 and 32" in out
    assert f"export: {moved / 'export-torch'} (model.pt2)" in out


def test_a_program_holds_no_pickle(torch_export: Made) -> None:
    with zipfile.ZipFile(torch_export.folder / "model.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith((".pt", ".pkl")):
                assert content == b""
            assert not content.startswith((b"\x80\x02", b"\x80\x04", b"PK")), name


def test_loading_a_program_unpickles_nothing(torch_export: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    network, _ = loader(torch_export.folder).load(torch_export.folder / "model.pt2")
    assert network(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))[0].shape == (1, 3)
