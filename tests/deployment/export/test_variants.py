"""Smaller ONNX files: what they are made of, and what they lose, measured."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from lmd.data.dataset.manifest import Dataset
from lmd.deployment.export.loss import Labelled
from lmd.deployment.export.onnx_file import answering
from lmd.deployment.export.smaller import classifiers
from lmd.errors import CheckpointError
from lmd.evaluation.metrics import balanced_accuracy
from lmd.evaluation.predict import Model
from tests.deployment.export.conftest import Made

FP16, INT8 = "model-fp16.onnx", "model-int8.onnx"


def weights(made: Made, name: str) -> Counter[int]:
    """How many numbers of each kind a file has."""
    found: Counter[int] = Counter()
    for one in onnx.load(made.folder / name).graph.initializer:
        found[one.data_type] += int(np.prod(one.dims, dtype=int))
    return found


def test_they_are_smaller(onnx_export: Made) -> None:
    sizes = {path.name: path.stat().st_size for path in onnx_export.folder.glob("*.onnx")}
    assert sizes[FP16] < 0.55 * sizes["model.onnx"]
    assert sizes[INT8] < 0.4 * sizes["model.onnx"]
    for name in (FP16, INT8):
        assert onnx_export.told.variants[name].bytes == sizes[name]
        assert name in onnx_export.told.files


def test_their_weights_are_of_the_kind_that_they_say(onnx_export: Made) -> None:
    half, small = weights(onnx_export, FP16), weights(onnx_export, INT8)
    assert half[onnx.TensorProto.FLOAT16] > 100 * half[onnx.TensorProto.FLOAT]
    assert small[onnx.TensorProto.INT8] > 20 * small[onnx.TensorProto.FLOAT]


def test_the_classifier_is_not_rounded(onnx_export: Made) -> None:
    model = onnx.load(onnx_export.folder / INT8)
    (gemm,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    stored = {one.name for one in model.graph.initializer}
    assert gemm.input[1] in stored
    assert made[gemm.input[0]] != "DequantizeLinear"


def test_the_last_products_are_found() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["a"], "first"),
        make("MatMul", ["a", "v"], ["b"], "left"),
        make("Gemm", ["a", "u"], ["c"], "right"),
        make("Softmax", ["b"], ["p"], "softmax"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    assert sorted(classifiers(onnx.helper.make_model(graph))) == ["left", "right"]


@pytest.mark.parametrize("name", [FP16, INT8])
def test_the_loss_is_that_of_the_answers(
    name: str, onnx_export: Made, model: Model, trained: tuple[Any, Dataset]
) -> None:
    """Counted here from the files themselves."""
    dataset = trained[1]
    images = Labelled(model, dataset, "test", "")
    first, second = (answering(onnx_export.folder / one)(images.pixels[:]) for one in ("model.onnx", name))
    labels = dataset.labels("test")
    loss = onnx_export.told.variants[name]
    assert (loss.n, loss.images) == (15, "test images of toy")
    for key, metric in loss.metrics.items():
        chosen = labels >= 0 if key == "bacc" else labels == ["head", "medium", "tail"].index(key)
        values = [balanced_accuracy(labels[chosen], one[1][chosen]) for one in (first, second)]
        assert [metric.export, metric.variant] == pytest.approx(values)
        assert metric.difference.value == pytest.approx(values[1] - values[0])
    assert list(loss.metrics) == ["bacc", "head", "medium", "tail"]
    assert loss.other_decisions == int((first[1].argmax(1) != second[1].argmax(1)).sum())
    gap = max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))
    assert 0 < loss.largest == pytest.approx(gap, rel=1e-4)


def test_the_page_has_the_loss(onnx_export: Made) -> None:
    page = (onnx_export.folder / "README.md").read_text()
    told = json.loads((onnx_export.folder / "export.json").read_text())
    for name in (FP16, INT8):
        part = page.split(f"## {name}")[1].split("\n## ")[0]
        tail = told["variants"][name]["metrics"]["tail"]
        row = f"| recall of tail classes | {tail['export']:.3f} | {tail['variant']:.3f} | "
        assert row in part
        assert f"{told['variants'][name]['largest']:.2g}" in part


def test_a_loss_is_seen(model: Model, trained: tuple[Any, Dataset]) -> None:
    """A variant that takes every rare image for a common one, and nothing else."""
    dataset = trained[1]
    images = Labelled(model, dataset, "test", "some")
    right = np.eye(3)[dataset.labels("test")] * 0.8 + 0.2 / 3
    wrong = np.where(right[:, 2:] > 0.5, right[:, [2, 1, 0]], right)
    loss = images.loss((right, right), (wrong, wrong), 1)
    found = {name: one.difference.value for name, one in loss.metrics.items()}
    assert found == pytest.approx({"bacc": -1 / 3, "head": 0, "medium": 0, "tail": -1})
    assert loss.other_decisions == 3
    assert "tail recall -1.000" in loss.line("x")


def test_answers_that_are_no_numbers_are_refused(model: Model, trained: tuple[Any, Dataset]) -> None:
    images = Labelled(model, trained[1], "test", "")
    nothing = np.full((15, 3), np.nan)
    with pytest.raises(CheckpointError, match="answers that are no numbers"):
        images.answers(lambda pixels: (nothing, nothing))


def test_a_variant_answers_any_number_of_images(onnx_export: Made, pixels: torch.Tensor) -> None:
    for name in (FP16, INT8):
        answer = answering(onnx_export.folder / name)
        whole = answer(pixels)
        parts = [answer(part) for part in pixels.split(2)]
        for kind in (0, 1):
            joined = np.concatenate([one[kind] for one in parts])
            np.testing.assert_allclose(joined, whole[kind], atol=0.02)
