"""The examples run, small, and do what they say."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lmd
from tests import toy
from tests.test_house import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def loaded(name: str) -> ModuleType:
    """An example as a module; its main() does not run."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_how_to_run_it_and_is_listed(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.search(rf"^    (python|lmd train .*) ?examples/{path.name}", said, re.MULTILINE)
    assert (ROOT / "examples" / "README.md").read_text().count(f"]({path.name}): ") == 1


# LMD by hand.


def test_lmd_by_hand_is_short_and_does_without_the_training_loop() -> None:
    code = (ROOT / "examples" / "lmd_by_hand.py").read_text()
    assert len(code.splitlines()) < 120
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert "lmd.prepare" in calls
    assert not [call for call in calls if call.startswith(("lmd.train", "lmd.stages", "lmd.methods"))]
    assert not re.search(r"^(from|import) lmd\.(stages|methods|training)", code, re.MULTILINE)


def test_lmd_by_hand_names_each_equation_beside_its_function() -> None:
    lines = (ROOT / "examples" / "lmd_by_hand.py").read_text().splitlines()
    for function, words in {
        "losses.probability_consistency": "eq. 3",
        "losses.sample_consistency": "eq. 4",
        "losses.channel_consistency": "eq. 5",
        "losses.class_statistics": "eq. 6-7",
        "losses.VirtualFeatures": "eq. 8",
        "losses.prepare_metric": "eq. 10 and 11",
        "losses.expectation_loss": "eq. 12",
    }.items():
        (place,) = [number for number, line in enumerate(lines) if f"{function}(" in line]
        assert words in "\n".join(lines[place - 3 : place + 1]), function
    text = "\n".join(lines)
    assert re.findall(r"[Ll]ines? (\d+)(?: (?:to|and) (\d+))?", text) == [
        ("1", "8"), ("9", "19"), ("9", ""), ("12", ""), ("13", "14"), ("15", "16"), ("19", ""),
    ]  # fmt: skip


def test_lmd_by_hand_learns(capsys: pytest.CaptureFixture[str]) -> None:
    main = loaded("lmd_by_hand").main
    results = main(images=60, epochs=2, iterations=1)
    printed = capsys.readouterr().out
    assert re.search(
        r"^balanced accuracy after stage 2: 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]$", printed, re.MULTILINE
    )
    assert list(results) == ["stage 1", "stage 2"]
    # Eight classes: chance is .125. A new classifier on virtual features knows the rare ones.
    assert results["stage 2"].metrics["bacc"].low > 0.125
    assert results["stage 2"].metrics["bacc"].value > results["stage 1"].metrics["bacc"].value


# Losses in a plain loop.


def test_both_remedies_find_more_of_the_rare_class() -> None:
    results = loaded("losses_in_a_plain_loop").main(epochs=8)
    rare = {name: result.classes[2].recall for name, result in results.items()}
    bacc = {name: result.metrics["bacc"] for name, result in results.items()}
    for remedy in ("balanced softmax", "balanced sampling"):
        assert rare[remedy].low > rare["cross entropy"].high
        assert bacc[remedy].value > bacc["cross entropy"].value


# A method of your own, and a service with its run.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lmd.RunFolder:
    """What examples/my_method.py trains on the toy."""
    folder = tmp_path_factory.mktemp("examples")
    return lmd.train(
        toy.make_dataset(folder),
        method=ROOT / "examples" / "my_method.py",
        settings={**toy.COMMON, "stage1.power": 0.3},
        out=folder / "run",
    )


def test_a_method_of_your_own_is_trained_and_evaluated(run: lmd.RunFolder) -> None:
    assert "power: 0.3" in run.settings.read_text()
    assert lmd.evaluate(run).metrics["bacc"].value > 1 / 3


def test_a_method_of_your_own_weighs_the_classes(run: lmd.RunFolder) -> None:
    example: Any = lmd.methods.load(str(ROOT / "examples" / "my_method.py"), allow_code=True)
    (stage,) = example.stages(example.Settings(), np.array([16, 4, 1]))
    assert stage.weights.tolist() == [1.0, 2.0, 4.0]


@pytest.fixture(scope="module")
def service(run: lmd.RunFolder) -> Iterator[tuple[ModuleType, str]]:
    """The example and the address where it serves the run."""
    example = loaded("prediction_service")
    with example.serve(run.path, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield example, f"http://{example.ADDRESS}:{server.server_port}/"
        server.shutdown()
        thread.join()


def asked(address: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """The status and the JSON that a request is answered with."""
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_service_answers_an_image_as_predict_does(
    service: tuple[ModuleType, str], run: lmd.RunFolder, tmp_path: Path
) -> None:
    file = tmp_path / "image.png"
    Image.fromarray(toy.draw(2, 7)).save(file)
    status, found = asked(service[1], file.read_bytes())
    (expected,) = lmd.load(run).predict(file).to_dict("records")
    assert status == 200
    assert found["predicted"] == expected["predicted"]
    assert found["probabilities"] == pytest.approx({name: expected[f"p_{name}"] for name in toy.CLASSES})
    assert "research" in found["notice"]
    assert asked(service[1]) == (200, {"classes": toy.CLASSES, "notice": found["notice"]})


def test_the_service_refuses_what_is_no_image_or_too_large(
    service: tuple[ModuleType, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example, address = service
    assert asked(address, b"no image")[0] == 400
    assert asked(address, b"")[0] == 400
    assert asked(address, b"x", **{"Content-Length": "-1"})[0] == 411
    monkeypatch.setattr(example, "MAX_BYTES", 100)
    assert asked(address, b"x" * 101) == (413, {"error": "an image may have 100 bytes at most"})


def test_the_service_keeps_nothing_and_listens_here_alone(
    service: tuple[ModuleType, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert asked(service[1], b"no image")[0] == 400
    assert list(tmp_path.iterdir()) == []
    assert service[0].ADDRESS == "127.0.0.1"


def test_the_service_loads_the_model_once(
    service: tuple[ModuleType, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("loaded again")

    monkeypatch.setattr("lmd.evaluation.predict.load_model", refuse)
    Image.fromarray(toy.draw(0, 1)).save(tmp_path / "image.png")
    assert asked(service[1], (tmp_path / "image.png").read_bytes())[0] == 200


def test_the_service_says_what_is_wrong_with_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prediction_service.py", str(tmp_path / "no")])
    with pytest.raises(SystemExit, match="2"):
        loaded("prediction_service").main()
    assert "no such run" in capsys.readouterr().err
