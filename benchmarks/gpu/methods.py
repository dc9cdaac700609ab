"""Every method trains, on a GPU where there is one: `python -m benchmarks.gpu.methods ROWS WORK [NAMES]`.

Each is trained on drawn images with a tiny schedule. A line of JSON is written when it has ended.
"""

from __future__ import annotations

import json
import math
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

import lmd
from lmd import methods
from lmd.data.dataset.sources import phantom
from lmd.records import read_metrics

EXACT = "lmd with the exact M-step"
_COMMON = ("pretrained=false", "size=32")
_SETTINGS = {EXACT: ("m_step.solver=exact",)}


def main(arguments: list[str]) -> int:
    """Trains all methods, or those that are named; returns 1 where one of them failed."""
    rows, work, *names = arguments
    data = Path(work) / "phantom"
    if not data.exists():
        phantom.prepare(phantom.Options(images=160, imbalance=8, size=40), data)
    encoder = "resnet18" if torch.cuda.is_available() else "test_resnet"
    failed = 0
    for name in names or [*methods.names(), EXACT]:
        row = trained(name, data, Path(work) / "methods" / name.replace(" ", "-"), encoder)
        failed += row["error"] is not None
        with Path(rows).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{name}: {row['error'] or 'trained'}, {row['seconds']} s", flush=True)
    return int(failed > 0)


def trained(name: str, data: Path, out: Path, encoder: str) -> dict[str, Any]:
    """Trains a method; returns its row: seconds, last losses, peak of the GPU's memory, what went wrong."""
    begun = time.perf_counter()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    error, losses = None, {}
    try:
        settings = [*_COMMON, f"encoder={encoder}", *_SETTINGS.get(name, ())]
        lmd.train(data, out=out, method=name.partition(" ")[0], budget="smoke", settings=settings)
        losses = read_metrics(out)[-1]["losses"]
        if not all(math.isfinite(value) for value in losses.values()):
            error = "a loss is not finite"
    except Exception as wrong:
        traceback.print_exc()
        error = f"{type(wrong).__name__}: {wrong}".splitlines()[0][:500]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
    seconds = round(time.perf_counter() - begun, 2)
    return {
        "method": name,
        "device": device,
        "seconds": seconds,
        "losses": losses,
        "memory": memory,
        "error": error,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
