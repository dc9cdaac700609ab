"""The notebook in examples/: it has no outputs, names no machine, and runs from top to bottom."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_house import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[str]:
    return [
        "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_clean(path: Path) -> None:
    notebook: dict[str, Any] = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert not re.search(r"/(work|home|root|Users|tmp)/|[A-Z]:\\\\", path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for text in cells(path, "code"):
        ast.parse(text)
    assert f"]({path.name}): " in (ROOT / "examples" / "README.md").read_text()


def test_the_names_of_the_notebook_exist() -> None:
    import lmd

    text = "\n".join(cells(NOTEBOOKS[0], "code"))
    names = set(re.findall(r"\blmd\.(\w+)", text))
    assert {"prepare", "train", "evaluate", "compare", "load"} <= names
    assert [name for name in names if name not in lmd.__all__] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # What it makes goes with the test.
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(tmp_path))
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "predicted" in str(last.outputs)
