"""Smaller variants of an ONNX model: fp16 from the network itself, int8 by onnxruntime's quantiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lmd.deployment.export.onnx_file import tell, write_onnx
from lmd.deployment.export.program import without_noise

CALIBRATION = 256  # Training images from which the ranges of activations are taken.
# What is made of whole numbers. All else, such as the normalisation and the last softmax, stays as it is.
_QUANTISED = ["Conv", "MatMul", "Gemm"]


def write_int8(source: Path, path: Path, pixels: Tensor, about: Mapping[str, Any]) -> None:
    """Writes an ONNX file whose convolutions and products take 8-bit numbers.

    Weights have a scale for each channel. The ranges of activations are those of the given training images.
    The classifier stays in fp32: it is small, and the rare classes depend on it.
    """
    import onnx
    from onnxruntime import quantization as ort

    from lmd.deployment.export.calibration import Reader

    with without_noise():
        ort.quantize_static(
            str(source),
            str(path),
            Reader(pixels),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=classifiers(onnx.load(str(source))),
        )
    model = onnx.load(str(path))
    tell(model, about)
    write_onnx(path, model, about)


def classifiers(model: Any) -> list[str]:
    """Returns the names of the products behind which no other product or convolution comes."""
    behind: dict[str, bool] = {}  # Of each tensor: whether a product takes part in what is made of it.
    last: list[str] = []
    for node in reversed(model.graph.node):
        product = node.op_type in _QUANTISED
        followed = any(behind.get(name, False) for name in node.output)
        if product and not followed:
            last.append(node.name)
        for name in node.input:
            behind[name] = behind.get(name, False) or product or followed
    return last
