"""A bundle as MONAI itself reads, checks and runs it; importing MONAI takes eight seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmd.evaluation.predict import Model
from tests import toy
from tests.deployment.export.conftest import Made

CODE = """
from monai.bundle import run, verify_net_in_out
verify_net_in_out("network", meta_file="configs/metadata.json", config_file="configs/inference.json", device="cpu")
run(config_file="configs/inference.json", bundle_root=".", images={images!r}, output={output!r})
"""
# What MONAI's schema asks for; it is on the web, and the tests are not.
NEEDED = {"version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
          "copyright", "network_data_format"}  # fmt: skip


def test_the_metadata_has_what_monai_asks_for(monai_export: Made) -> None:
    meta = json.loads((monai_export.folder / "configs" / "metadata.json").read_text())
    assert meta.keys() >= NEEDED
    assert meta["version"] in meta["changelog"]
    pred = meta["network_data_format"]["outputs"]["pred"]
    assert list(pred["channel_def"].values()) == toy.CLASSES
    assert pred["num_channels"] == 3
    assert meta["network_data_format"]["inputs"]["image"]["spatial_shape"] == [16, 16]
    assert "Not a medical device" in meta["intended_use"]


@pytest.mark.slow
def test_monai_runs_it(monai_export: Made, model: Model, files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("monai")
    output = tmp_path / "answers.csv"
    images = tmp_path / "images"
    images.mkdir()
    for file in files:
        (images / file.name).write_bytes(file.read_bytes())
    code = CODE.format(images=str(images), output=str(output))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=monai_export.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found, told = pd.read_csv(output), model.predict(files)
    assert [Path(name).name for name in found["id"]] == [file.name for file in files]
    assert found["predicted"].tolist() == told["predicted"].tolist()
    columns = [name for name in told if name[:2] in ("p_", "d_")]
    np.testing.assert_allclose(found[columns], told[columns], atol=1e-5)
