"""Builds lmd and tries it on several Pythons, each with the oldest and the newest dependencies.

    python packaging/matrix.py                                # which dependencies there would be, for all
    python packaging/matrix.py --run 3.11:lowest 3.13:newest  # install and try these, too

It needs `uv` and `build` (`pip install uv build`) and a package index. A Python that is neither installed nor
can be fetched is resolved alone. The result is `packaging/matrix.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_suffix(".json")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
SHOWN = ("torch", "torchvision", "timm", "numpy", "pandas", "pillow", "pydantic", "scikit-learn", "typer")


def main() -> None:
    """Fills the matrix, says what failed, and ends with exit code 1 where something did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", nargs="*", default=[], metavar="PYTHON:lowest|newest")
    parser.add_argument("--uv", default="uv")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = built(Path(folder) / "dist")
        cells = {
            f"{python}:{kind}": resolved(asked.uv, wheel, python, kind)
            for python in PYTHONS
            for kind in RESOLUTIONS
        }
        for name in asked.run:
            cells[name] |= tried(asked.uv, wheel, name, Path(folder))
        files = {"wheel": wheel.name, "sdist": sdist.name}
    known = json.loads(RESULT.read_text(encoding="utf-8"))["cells"] if RESULT.is_file() else {}
    for name, cell in cells.items():  # What was tried before stays, until it is tried again.
        if "smoke" not in cell and "smoke" in known.get(name, {}):
            cells[name] = {**known[name], "resolved": cell["resolved"]}
    result = {"machine": platform.platform(), "built": files, "cells": cells}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    passed = [
        cell["resolved"] == "yes" and cell.get("smoke", "passed") == "passed" for cell in cells.values()
    ]
    for name, cell in cells.items():
        print(f"{name}: resolved {cell['resolved']}; smoke test {cell.get('smoke', 'not tried')}")
    sys.exit(not all(passed))


def built(out: Path) -> tuple[Path, Path]:
    """Returns a wheel, which is built from the source archive, and that archive."""
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, capture_output=True
    )
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def wanted(wheel: Path) -> list[str]:
    """Returns lmd and its dependencies: the oldest are taken only of what is named itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"lmd @ {wheel.as_uri()}", *project["dependencies"]]


def resolved(uv: str, wheel: Path, python: str, kind: str) -> dict[str, Any]:
    """Returns which dependencies an installation would take; all have to be there as wheels."""
    words = [
        uv, "pip", "compile", "-q", "--no-header", "--no-annotate", "--no-build", "--python-version", python,
        "--resolution", RESOLUTIONS[kind], "-",
    ]  # fmt: skip
    done = subprocess.run(words, input="\n".join(wanted(wheel)), capture_output=True, text=True)
    if done.returncode:
        return {"resolved": " ".join(done.stderr.split())[:600]}
    pins = dict(line.split("==") for line in done.stdout.splitlines() if "==" in line)
    return {"resolved": "yes", "versions": {name: pins[name] for name in SHOWN}}


def tried(uv: str, wheel: Path, name: str, folder: Path) -> dict[str, Any]:
    """Returns what the smoke test says in an environment that holds nothing but lmd and its dependencies."""
    python, kind = name.split(":")
    place = folder / name.replace(":", "-")
    found = place / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    install = ["--no-build", "--resolution", RESOLUTIONS[kind], *wanted(wheel)]
    steps = [
        [uv, "venv", "-q", "--python", python, str(place / "env")],
        [uv, "pip", "install", "-q", "--python", str(found), *install],
        [str(found), "-P", str(Path(__file__).with_name("smoke.py")), str(place / "work")],
    ]
    said = ""
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, cwd=folder)
        said = (done.stdout.strip() or done.stderr.strip())[-1500:]
        if done.returncode:
            return {"smoke": f"failed: {' '.join(step[:3])}: {said}"}
    return {"smoke": "passed", "said": said, "on": datetime.now(tz=UTC).date().isoformat()}


if __name__ == "__main__":
    main()
