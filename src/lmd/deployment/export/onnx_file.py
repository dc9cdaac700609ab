"""A model as an ONNX file, and what onnxruntime answers with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from lmd.deployment.export.program import in_a_line, without_noise
from lmd.errors import SettingsError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# What runs a model: images, uint8 [N, 3, S, S], to p and d [N, K].
Answering = Callable[[Tensor], tuple[np.ndarray, np.ndarray]]

_MOST = 2 * 10**9  # Bytes: protobuf holds 2 GiB.


def onnx_of(program: ExportedProgram, encoder: str) -> Any:
    """Returns a program as an ONNX model: `images` in, `p` and `d` out.

    Raises:
        SettingsError: the encoder has an operation that ONNX has not, or more weights than a file holds.
    """
    if sum(value.nbytes for value in program.state_dict.values()) > _MOST:
        raise SettingsError(f"encoder '{encoder}' is too large for one ONNX file (2 GB): take --format torch")
    try:
        with without_noise():
            made = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["p", "d"], verbose=False
            )
    except Exception as error:  # The exporter raises many kinds.
        raise SettingsError(f"encoder '{encoder}' cannot be exported to ONNX: {in_a_line(error)}") from error
    return cast("Any", made).model_proto


def write_onnx(path: Path, model: Any, about: Mapping[str, Any]) -> None:
    """Writes a checked ONNX file, with what is known of the model as its metadata."""
    import onnx

    tell(model, about)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))


def tell(model: Any, about: Mapping[str, Any]) -> None:
    """Puts what is known of a model in place of what the exporter notes: that has paths of this machine."""
    import onnx

    graph = model.graph
    del model.metadata_props[:], graph.value_info[:]  # Shapes in between: whoever needs them infers them.
    for part in (graph, *graph.node, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    onnx.helper.set_model_props(model, texts)


def session_of(path: Path) -> Any:
    """Returns an ONNX file as onnxruntime runs it, on the CPU and with as many threads as torch takes."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # On Windows it would write events of its use.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answering(path: Path) -> Answering:
    """Returns what onnxruntime answers with an ONNX file."""
    session = session_of(path)

    def answer(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        p, d = session.run(["p", "d"], {"images": images.numpy()})
        return p, d

    return answer
