"""Checks, measures and trains on a GPU machine for so many seconds; `benchmarks/gpu.sh` starts it.

Each part has a share of the time and is cut at its end. What it found is on disk before the next begins. The
sweep gets what is left; or the folds, where `--parts` names them: the comparison of `benchmarks.win`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.data import WEIGHTS
from benchmarks.gpu.parts import Budget, begin, command, finish, run
from benchmarks.gpu.results import cut_logs, pack

# Shares of all seconds. What a part does not use is the sweep's.
METHODS, TESTS = 0.2, 0.1
BENCHMARKS = {"stage1": 0.12, "icc": 0.12, "inference": 0.1}
PACKING = 8.0  # Seconds at the end, for the archives.
ANSWERING = 60.0  # Seconds before, for the logits of the folds.
QUICK_METHODS = ("ce", "lmd")
QUICK_SWEEP = ("--methods", "ce,decoupling", "--seeds", "1", "--budget", "smoke",
               "--set", "encoder=test_resnet", "--set", "pretrained=false", "--set", "size=16",
               "--set", "stage1.epochs=1")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs all parts; returns 1 where a method did not train, a test failed, or the sweep ended badly."""
    options, budget = _parse(arguments), Budget(0)
    budget.seconds = options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if _has_gpu() else "cpu"
    if device == "cpu" and not options.quick:
        print("gpu.sh: torch sees no GPU here; --quick tries the script without one", file=sys.stderr)
        return 2
    _say_where(options, device)
    made = begin("prepare", command("benchmarks.gpu.prepare", *_data(options)), options.out, {})
    codes = [part(options, budget) for name, part in CHECKS.items() if name in options.parts]
    prepared = finish("prepare", made, budget.left, budget.begun)
    print(f"prepare: exit code {prepared.code}, over after {prepared.seconds:.0f} s", flush=True)
    _benchmarks(options, budget, device)
    codes += [prepared.code or part(options, budget) for name, part in REST.items() if name in options.parts]
    packed = pack(options.work / "sweep", options.out)
    cut_logs(options.out)
    print(f"packed: {', '.join(path.name for path in packed) or 'nothing'}", flush=True)
    print(f"all: {time.monotonic() - budget.begun:.0f} of {budget.seconds:.0f} s", flush=True)
    return int(any(code not in (0, 75) for code in codes))


def _parse(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the folder for logs, rows, tables and predictions")
    parser.add_argument("seconds", type=float, nargs="?", default=480.0)
    parser.add_argument("--folder", type=Path, help="what `python -m benchmarks.gpu_pack` made")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tries the script, also on a CPU")
    parser.add_argument("--size", type=int, default=64, help="pixels of the sweep")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of stage 1 in the sweep")
    parser.add_argument("--jobs", default="auto", help="trainings side by side in the sweep")
    parser.add_argument(
        "--parts",
        default=",".join(DEFAULT),
        help=f"what to do, in this order: some of {','.join(PARTS)} (default: all but folds)",
    )
    parser.add_argument("--domain", default="isic-128", help="of the folds: isic (64 pixels) or isic-128")
    parser.add_argument("--seeds", nargs="+", default=["42"], help="of the folds")
    options = parser.parse_args(arguments)
    options.parts = options.parts.split(",")
    if "folds" in options.parts and options.folder is None:
        parser.error("--parts folds needs --folder")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: no part '{min(unknown)}'; there are {', '.join(PARTS)}")
    options.work = Path(os.environ.get("LMD_GPU_WORK") or tempfile.mkdtemp(prefix="lmd-gpu."))
    if options.folder is not None:
        options.folder = options.folder.resolve()
    options.out = options.out.resolve()
    return options


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _say_where(options: Any, device: str) -> None:
    """Writes what all numbers depend on, before the first of them."""
    import torch

    from lmd.runtime import environment

    there = {**environment(), "cores": os.cpu_count(), "device": device, "cuda": torch.version.cuda}
    (options.out / "environment.json").write_text(json.dumps(there, indent=2) + "\n", encoding="utf-8")
    print(f"{there['gpu'] or there['cpu']}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)


def _data(options: Any) -> list[Path]:
    return [options.work, *([options.folder] if options.folder else [])]


def _methods(options: Any, budget: Budget) -> int:
    names = QUICK_METHODS if options.quick else ()
    words = command("benchmarks.gpu.methods", options.out / "methods.jsonl", options.work, *names)
    return run("methods", words, options.out, budget.share(METHODS), {}).code


def _tests(options: Any, budget: Budget) -> int:
    """The tests that need a GPU; without one each is skipped. They use none of the suite's own set-up."""
    words = [
        "pytest",
        "-q",
        "-m",
        "gpu",
        "tests/gpu",
        "--noconftest",
        "-W",
        "default",
        "-p",
        "no:cacheprovider",
    ]
    return run("tests", command(*words), options.out, budget.share(TESTS), {}).code


def _benchmarks(options: Any, budget: Budget, device: str) -> None:
    more = {"LMD_SHARED": str(options.work / "shared")}
    for part, share in BENCHMARKS.items():
        if part not in options.parts or (options.quick and part != "stage1"):
            continue
        words = ["benchmarks", "--device", device, "--only", part, "--no-growth", "--out", options.out]
        words += ["--quick", "--runs", "1"] if options.quick else ["--runs", "3"]
        run(part, command(*words), options.out, budget.share(share), more)


def _sweep(options: Any, budget: Budget) -> int:
    """Table 3 on the data, the most informative runs first, until the time is over."""
    seconds = max(budget.left - PACKING, 1.0)
    words = ["lmd", "reproduce", "table3", "--data", options.work / "data", "--out", options.work / "sweep"]
    words += ["--jobs", "1" if options.quick else options.jobs, "--deadline", f"{seconds:.0f}"]
    words += QUICK_SWEEP if options.quick else _full(options)
    return run("sweep", command(*words), options.out, seconds + PACKING / 2, {}).code


def _full(options: Any) -> list[str]:
    sizes = (f"size={options.size}", "crop=center", f"stage1.epochs={options.epochs}")
    words = ["--budget", "short", "--seeds", "3", *(word for text in sizes for word in ("--set", text))]
    weights = options.folder / WEIGHTS if options.folder else None
    if weights is not None and weights.is_file():
        return [*words, "--weights", str(weights), "--partial-weights"]
    return [*words, "--set", "pretrained=false"]


def _folds(options: Any, budget: Budget) -> int:
    """The folds of `benchmarks.win`: their logits come back, row by row, whatever there was time for."""
    work = ["--work", options.work / "win", "--domain", options.domain, "--seeds", *options.seeds]
    prepared = ["benchmarks.win", "prepare", "--work", options.work / "win", "--packed", options.folder]
    code = run("folds-prepare", command(*prepared), options.out, max(budget.left, 1.0), {}).code
    seconds = max(budget.left - ANSWERING - PACKING, 1.0)
    train = ["benchmarks.win", "train", *work, "--jobs", "3" if options.jobs == "auto" else options.jobs]
    run("folds-train", command(*train), options.out, seconds, {})
    answers = ["benchmarks.win", "answers", *work, "--out", options.out / "win"]
    return code or run("folds-answers", command(*answers), options.out, max(budget.left, 1.0), {}).code


CHECKS = {"methods": _methods, "tests": _tests}
REST = {"sweep": _sweep, "folds": _folds}
DEFAULT = (*CHECKS, *BENCHMARKS, "sweep")
PARTS = (*DEFAULT, "folds")

if __name__ == "__main__":
    sys.exit(main())
