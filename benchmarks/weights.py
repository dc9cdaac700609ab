"""Prints a hash of the weights of every method: a refactoring shows with it that it changed none.

    python -m benchmarks.weights --out work/weights.json                    # on the commit before, and after
    python -m benchmarks.weights --case "no FDC: --method lmd --set without=fdc"

Each method is trained on phantoms with `--budget smoke` and one seed, through the command. The hashes of two
commits can be compared where machine, number of threads and packages are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = ["--images", "150", "--val-per-class", "5", "--test-per-class", "5"]
COMMON = ["--budget", "smoke", "--seed", "7", "--set", "pretrained=false", "--set", "precision=fp32"]


def main() -> None:
    """Trains what is asked for and prints, or writes, one JSON object of hashes by name."""
    parser = argparse.ArgumentParser(description="a hash of the weights of every method")
    parser.add_argument("--out", type=Path, help="a JSON file; without it the hashes are printed")
    parser.add_argument("--only", nargs="*", help="these methods; nothing after it: none of them")
    parser.add_argument("--case", action="append", default=[], help="'NAME: arguments of lmd train'")
    options = parser.parse_args()
    text = json.dumps(hashes(options.only, options.case), indent=2)
    if options.out is None:
        print(text)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


def hashes(only: list[str] | None, cases: list[str]) -> dict[str, str]:
    """Returns the SHA-256 of model.safetensors for each method and each further case."""
    from lmd import methods

    wanted = {name: ["--method", name] for name in (methods.names() if only is None else only)}
    wanted |= {name: shlex.split(words) for name, _, words in (case.partition(":") for case in cases)}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        run("prepare", "phantom", "--out", str(data), *IMAGES)
        return {name: trained(data, Path(folder) / name, words) for name, words in wanted.items()}


def trained(data: Path, out: Path, words: list[str]) -> str:
    """Trains one run and returns the hash of its weights, or why it ended without any."""
    try:
        run("train", str(data), "--out", str(out), *COMMON, *words)
    except subprocess.CalledProcessError as error:
        return f"exit code {error.returncode}"
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def run(*words: str) -> None:
    """Runs the command `lmd` on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "lmd", *words], check=True, env=environment, stderr=sys.stderr)


if __name__ == "__main__":
    main()
