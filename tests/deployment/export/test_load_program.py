"""The loader of programs refuses whatever `torch.export.load` would run."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmd.deployment.export import load_program
from tests.deployment.export.conftest import Made

Change = Callable[[dict[str, bytes]], None]


class Evil:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("code of the file has run",)


def changed(made: Made, tmp_path: Path, change: Change) -> Path:
    """A copy of a program with other parts."""
    with zipfile.ZipFile(made.folder / "model.pt2") as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(parts)
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"model/{name}", content)
    return path


def graph(edit: Callable[[Any], None]) -> Change:
    """Changes the graph."""

    def change(parts: dict[str, bytes]) -> None:
        tree = json.loads(parts["models/model.json"])
        edit(tree)
        parts["models/model.json"] = json.dumps(tree).encode()

    return change


def first_node(tree: Any) -> Any:
    return tree["graph_module"]["graph"]["nodes"][0]


def with_example(parts: dict[str, bytes]) -> None:
    parts["data/sample_inputs/model.pt"] = pickle.dumps(Evil())


def with_old_weights(parts: dict[str, bytes]) -> None:
    parts["data/weights/model.pt"] = pickle.dumps(Evil())


def with_object(parts: dict[str, bytes]) -> None:
    parts["data/constants/opaque_obj_0"] = pickle.dumps(Evil())


def with_library(parts: dict[str, bytes]) -> None:
    parts["data/aotinductor/model/wrapper.so"] = b"\x7fELF"


def with_pickled_weight(parts: dict[str, bytes]) -> None:
    name = "data/weights/model_weights_config.json"
    config = json.loads(parts[name])
    next(iter(config["config"].values()))["use_pickle"] = True
    parts[name] = json.dumps(config).encode()


def with_weight_elsewhere(parts: dict[str, bytes]) -> None:
    name = "data/weights/model_weights_config.json"
    config = json.loads(parts[name])
    next(iter(config["config"].values()))["path_name"] = "../../secret"
    parts[name] = json.dumps(config).encode()


def calling(target: str) -> Change:
    return graph(lambda tree: first_node(tree).update(target=target))


def expression(text: str) -> Change:
    return graph(lambda tree: tree["graph_module"]["graph"].update(more={"expr_str": text}))


HOSTILE: dict[str, tuple[Change, str]] = {
    "example": (with_example, "is a pickle"),
    "old weights": (with_old_weights, "a part called 'data/weights/model.pt'"),
    "object": (with_object, "a part called 'data/constants/opaque_obj_0'"),
    "library": (with_library, "a part called 'data/aotinductor"),
    "weight": (with_pickled_weight, "names a pickle"),
    "elsewhere": (with_weight_elsewhere, "names a pickle"),
    "system": (calling("torch.os.system"), "it calls 'torch.os.system'"),
    "hub": (calling("torch.hub.load"), "it calls 'torch.hub.load'"),
    "file": (calling("torch.ops.aten.from_file.default"), "it calls 'torch.ops.aten.from_file"),
    "nested": (calling("torch.ops.aten.add.__globals__.x"), "it calls 'torch.ops.aten.add.__globals__"),
    "guards": (graph(lambda tree: tree.update(guards_code=["print(1)"])), "it brings code with it"),
    "stack": (
        graph(lambda tree: first_node(tree)["metadata"].update(source_fn_stack="a,os.system")),
        "it names functions",
    ),
    "eval": (expression("__import__('os').system('true')"), 'it has the expression "__import__'),
    "call": (expression("Symbol('s1').func(1)"), "it has the expression"),
    "long": (expression("Add(" * 200), "it has the expression"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_code_is_refused(
    name: str, torch_export: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, why = HOSTILE[name]
    path = changed(torch_export, tmp_path, change)
    with pytest.raises(ValueError, match=re.escape(why)):
        load_program.load(path)
    assert "has run" not in capsys.readouterr().out


def test_an_unchanged_copy_is_loaded(torch_export: Made, tmp_path: Path) -> None:
    load_program.check(changed(torch_export, tmp_path, lambda parts: None))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_program_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt2 holds no program"):
        load_program.load(path)


def test_the_loader_of_an_export_is_this_one(torch_export: Made, monai_export: Made) -> None:
    code = Path(load_program.__file__).read_text()
    assert "import lmd" not in code
    assert "from lmd" not in code
    for path in (torch_export.folder / "load.py", monai_export.folder / "scripts" / "load.py"):
        assert path.read_text() == code
