"""The smoke test of an installed lmd, in a folder of its own and without the network.

    python packaging/smoke.py FOLDER

Every module is imported, and the command goes from drawn images to answers. It ends with exit code 0, or at
the first command that fails.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

# The programs of processes of their own: importing them would start what they do.
PROGRAMS = ("lmd.__main__", "lmd.jobs.__main__")
TINY = "--set encoder=test_resnet --set pretrained=false --set size=32 --set batch=8 --set stage1.epochs=1"
TWO_STAGES = "--set iterations=1 --set m_step.virtual_per_class=40 --set m_step.batch=20"
COMMANDS = [
    "--version",
    "prepare phantom --out data --images 80 --val-per-class 2 --test-per-class 2 --size 48",
    "inspect data",
    f"train data --method lmd --budget smoke --out run {TINY} {TWO_STAGES}",
    "evaluate run --split test",
    "predict run data/images --out answers.csv",
    "report run",
    "methods lmd",
]


def main(folder: Path) -> None:
    """Runs the smoke test in a new folder."""
    folder.mkdir(parents=True)
    import_all()
    for command in COMMANDS:
        words = [sys.executable, "-P", "-m", "lmd", *command.split()]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"lmd {command}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )
    rows = (folder / "answers.csv").read_text(encoding="utf-8").splitlines()
    if len(rows) < 50 or not rows[0].startswith("id,predicted,p_"):
        sys.exit(f"answers.csv has {len(rows)} rows and begins with {rows[0]!r}")
    print(f"smoke test passed on Python {sys.version.split()[0]}: {len(rows) - 1} images answered")


def import_all() -> None:
    """Imports every module of the package."""
    package = importlib.import_module("lmd")
    for module in pkgutil.walk_packages(package.__path__, "lmd."):
        if module.name not in PROGRAMS:
            importlib.import_module(module.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
