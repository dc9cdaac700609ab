"""The benchmark of prediction runs, says what it measured, and its bare passes do all of their work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import inference
from benchmarks.plain import as_timm_computes


def test_it_runs_on_phantoms_where_there_are_no_real_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LMD_SHARED", str(tmp_path))
    monkeypatch.setattr(inference, "ENCODER", "test_resnet")
    found = list(inference.rows(1, "cpu", quick=True))
    predictions = [row for row in found if row.name.startswith("predict: 48 phantom images")]
    assert len(predictions) == 2 * len(found) / 3 >= 2  # The third is the network at rest.
    for row in predictions:
        assert row.against in ("bare decoding", "our bare network", "bare network as timm computes it")
        assert row.goal == "at most"
        assert row.target == pytest.approx(1.1765, abs=1e-4)
        assert row.ours > 0
        assert row.other > 0


def test_real_images_are_taken_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "data" / inference.REAL
    folder.mkdir(parents=True)
    (folder / "a.jpg").touch()
    monkeypatch.setenv("LMD_SHARED", str(tmp_path))
    what, files = inference.image_files(tmp_path / "unused", quick=True)
    assert (what, files) == ("ISIC 2019 images", [folder / "a.jpg"])


def test_bare_passes_see_as_many_images_as_there_are_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "ENCODER", "test_resnet")
    model, seen = inference.model_of("fp32", "cpu"), []
    model.network.register_forward_pre_hook(lambda _, images: seen.append(len(images[0])))
    inference.bare_passes(model, model.network, [torch.zeros(4, 3, 64, 64), torch.zeros(2, 3, 64, 64)], 15)()
    assert seen == [4, 2, 4, 2, 3]


def test_as_timm_computes_it_a_network_convolves_and_answers_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = inference.model_of("fp32", "cpu").network
    plain = as_timm_computes(network)
    calls: list[None] = []
    convolve = torch.nn.Conv2d._conv_forward

    def counted(self: torch.nn.Conv2d, *arguments: Any) -> torch.Tensor:
        calls.append(None)
        return convolve(self, *arguments)

    monkeypatch.setattr(torch.nn.Conv2d, "_conv_forward", counted)
    images = torch.randn(2, 3, 64, 64)
    found, counts = [], []
    with torch.inference_mode():
        for either in (network, plain):
            calls.clear()
            found.append(either(images).features)
            counts.append(len(calls))
    assert counts == [16, 20]
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)
