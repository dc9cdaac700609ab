"""The tables of `lmd-plus` against the baselines, from kept logits; and the order of the trainings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lmd
from benchmarks.win import __main__ as comparison
from benchmarks.win import estep, tables
from benchmarks.win.rows import DOMAINS, Domain, Row
from benchmarks.win.trainings import wanted
from lmd.data.feed.loader import ImageSet
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import CommonSettings
from tests import toy

CLASSES, COUNTS = ["common", "rare"], [90, 10]


def kept(folder: Path, images: int = 60) -> None:
    """Two folds of which each image is in one test; the labels follow from the number of the image."""
    rows = [
        {"id": f"i{number:03d}", "label": CLASSES[number % 4 == 0], "group": number // 2, "fold": f"fold-{1 + number % 2}"}
        for number in range(images)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    pd.DataFrame(rows)[["id", "label", "fold"]].to_csv(folder / "validated.csv", index=False)
    counts = dict.fromkeys(("fold-1", "fold-2"), COUNTS)
    pd.DataFrame(counts, index=CLASSES).to_csv(folder / "counts.csv", index_label="label")


def logits(folder: Path, row: str, right: float, shift: float, seed: int = 42) -> None:
    """Logits that prefer the right class by `right`, and the common one by `shift`, with noise."""
    cases = pd.read_csv(folder / "cases.csv")
    draw, found = np.random.default_rng(1), {}
    for fold in ("fold-1", "fold-2"):
        labels = (cases.loc[cases["fold"] == fold, "label"] == "rare").to_numpy().astype(int)
        for split in ("val", "test"):
            own = right * np.eye(2)[labels] + [shift, 0] + draw.normal(0, 0.3, (len(labels), 2))
            found[f"{fold} {split}"] = found[f"{fold} {split} flips"] = own.astype(np.float16)
    np.savez_compressed(folder / f"{row}-{seed}.npz", **found)


def test_the_same_rule_for_tau_takes_a_shift_out_and_leaves_a_better_row_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path)
    logits(tmp_path, "lmd-plus", right=2.0, shift=0.0)
    logits(tmp_path, "shifted", right=2.0, shift=1.6)
    logits(tmp_path, "worse", right=0.3, shift=0.0)
    np.savez_compressed(
        tmp_path / "begun-42.npz", **{"fold-1 test": np.zeros((30, 2))}
    )  # Not finished: no row.
    monkeypatch.setattr(sys, "argv", ["tables", "--results", str(tmp_path)])
    tables.main()
    found = {one["row"]: one for one in json.loads((tmp_path / "table.json").read_text())}
    assert set(found) == {"lmd-plus", "shifted", "worse"}
    assert found["lmd-plus"]["metrics"]["bacc"]["value"] > 0.97
    assert found["shifted"]["metrics"]["bacc"]["value"] > 0.9
    gap = found["worse"]["difference"]["bacc"]
    assert gap["low"] > 0.05
    assert found["worse"]["p_holm"] < 0.05
    assert found["worse"]["p_holm"] >= found["worse"]["p"]
    assert "| worse | 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["tables", "--results", str(tmp_path), "--tau", "0"])
    tables.main()
    plain = {one["row"]: one for one in json.loads((tmp_path / "table-tau-0.0.json").read_text())}
    assert plain["shifted"]["metrics"]["bacc"]["value"] < found["shifted"]["metrics"]["bacc"]["value"]


def test_all_rows_of_a_fold_come_before_the_next_fold_and_the_next_seed() -> None:
    seeds, rows = (42, 43), ("ce", "la")
    order = [(one.seed, one.fold, one.row) for one in wanted(Path("w"), "isic", seeds, None, rows)]
    assert order[:3] == [(42, "fold-1", "ce"), (42, "fold-1", "la"), (42, "fold-2", "ce")]
    assert order[10] == (43, "fold-1", "ce")
    assert len(order) == 20
    assert set(DOMAINS["rbc"].rows) == {"ce", "la", "cc-sam", "lmd", "lmd-plus"}
    assert len(DOMAINS["isic"].rows) == 10


def toy_domain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folds of the toy, one row trained on both as `benchmarks.win` lays it out; returns the work folder."""
    dataset = toy.make_dataset(folder / "source")
    table = dataset.table.assign(image=dataset.table["file"])[["image", "label", "group"]]
    table.to_csv(folder / "cases.csv", index=False)
    root = dataset.root
    lmd.prepare(
        "table", folder / "data" / "toy", table=folder / "cases.csv", root=root, image_column="image", folds=2
    )
    settings = {**toy.COMMON, "stage1": {"epochs": 1}, "tau": "validation", "precision": "fp32"}
    lmd.train(folder / "data" / "toy", out=folder / "toy" / "ce-42", method="ce", settings=settings)
    monkeypatch.setitem(DOMAINS, "toy", Domain("toy", 2, 1, {"ce": Row("ce")}))
    return folder


def test_kept_logits_give_the_decisions_of_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = toy_domain(tmp_path, monkeypatch)
    words = ["--work", str(work), "--domain", "toy"]
    monkeypatch.setattr(sys, "argv", ["win", "state", *words])
    comparison.main()
    assert "2 of 2" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["win", "answers", *words, "--out", str(work / "out")])
    comparison.main()
    monkeypatch.setattr(sys, "argv", ["tables", "--results", str(work / "out" / "toy"), "--against", "none"])
    tables.main()
    (found,) = json.loads((work / "out" / "toy" / "table.json").read_text())
    expected = lmd.evaluate(work / "toy" / "ce-42").metrics["bacc"].value
    assert found["metrics"]["bacc"]["value"] == pytest.approx(expected, abs=1e-4)
    kept = dict(np.load(work / "out" / "toy" / "ce-42.npz"))
    assert not np.allclose(kept["fold-1 test"], kept["fold-1 test flips"])


@pytest.mark.parametrize("name", ["J=0", *estep.HYPOTHESES])
def test_each_e_step_runs_and_moves_the_encoder(name: str) -> None:
    torch.manual_seed(0)
    pixels, labels = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8), torch.arange(24) % 3
    images = ImageSet(pixels, labels, 3)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, seed=0)).eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    settings = CommonSettings(encoder="test_resnet", size=16, batch=8)
    splits = dict.fromkeys(("train", "val", "test"), images)
    rate = 0.0 if name == "J=0" else 1e-2
    found = estep.calibrated(network, splits, settings, name, rate, 1, Runtime("fp32"))
    assert np.isfinite(found["test"]).all()
    moved = [key for key, value in encoder.state_dict().items() if not torch.equal(value, before[key])]
    assert bool(moved) == (name != "J=0")
    # A scale and a shift have one axis, a convolution has four.
    assert any(before[key].ndim > 1 for key in moved) == (name not in ("J=0", "affine"))
