"""benchmarks/gpu.sh: its parts without a GPU, and the folder that it takes along."""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import gpu_pack
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import data, parts, results
from benchmarks.gpu.data import Case
from benchmarks.win import __main__ as comparison
from benchmarks.win import data as folds
from lmd.data.dataset.folds_folder import read_folds
from tests import toy
from tests.command import Command

ROOT = Path(__file__).parents[2]


def test_images_come_back_as_they_were_and_no_file_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_PART", 100)
    cases = [Case(f"{n}.jpg", "ab"[n % 2], f"g{n // 2}", bytes([n]) * (30 + n)) for n in range(9)]
    assert data.write(cases, tmp_path / "folder") == 9
    assert list(data.read(tmp_path / "folder")) == cases
    sizes = [path.stat().st_size for path in sorted((tmp_path / "folder").glob("images-*.bin"))]
    assert sizes == [93, 67, 71, 75]
    data.unpack(tmp_path / "folder", tmp_path / "there" / "images")
    assert (tmp_path / "there" / "images" / "8.jpg").read_bytes() == cases[8].content
    assert (tmp_path / "there" / "cases.csv").read_text().splitlines()[1] == "0.jpg,a,g0,30"


def test_what_is_carried_away_is_in_files_of_a_bounded_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "sweep" / "runs" / "data" / "ce" / "seed-42"
    (run / "model").mkdir(parents=True)
    (tmp_path / "sweep" / "table.md").write_text("table")
    for number in range(6):
        (run / f"predictions-{number}.csv").write_bytes(os.urandom(3000))
    (run / "predictions-large.csv").write_bytes(os.urandom(20_000))
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    packed = results.pack(tmp_path / "sweep", tmp_path, most=10_000)
    assert len(packed) == 3
    assert all(path.stat().st_size <= 10_000 for path in packed)
    found: list[str] = []
    for path in packed:
        with tarfile.open(path) as archive:
            found += archive.getnames()
    assert sorted(found) == sorted(
        ["table.md", *(f"runs/data/ce/seed-42/predictions-{number}.csv" for number in range(6))]
    )
    assert "left out" in capsys.readouterr().out


def test_a_part_is_cut_at_the_end_of_its_time(tmp_path: Path) -> None:
    whole = parts.run("whole", ["/bin/sh", "-c", "echo done; exit 3"], tmp_path, 60, {})
    cut = parts.run("cut", ["/bin/sh", "-c", "echo begun; sleep 60"], tmp_path, 0.3, {})
    assert (whole.code, whole.cut) == (3, False)
    assert (cut.code, cut.cut) == (-15, True)
    assert cut.seconds < 5
    assert (tmp_path / "cut.log").read_text() == "begun\n"
    lines = [json.loads(line) for line in (tmp_path / "parts.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["whole", "cut"]


def test_the_sweep_gets_what_is_left() -> None:
    budget = parts.Budget(100.0, begun=parts.time.monotonic() - 85.0)
    assert budget.share(0.1) == pytest.approx(10.0)
    assert budget.share(0.5) == pytest.approx(15.0, abs=0.5)
    assert parts.Budget(1.0, begun=0.0).share(0.5) == 1.0


def test_without_a_gpu_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gpu.main([str(tmp_path / "out"), "60"]) == 2
    assert "--quick" in capsys.readouterr().err


class Here:
    """Runs the commands of the parts in this process, which has loaded torch."""

    def __init__(self, lmd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lmd, self.monkeypatch = lmd, monkeypatch
        self.names: list[str] = []
        self.words: dict[str, Sequence[str]] = {}
        self.returncode = 0

    def run(self, name: str, words: Sequence[str], out: Path, seconds: float, more: dict[str, str]) -> object:
        self.names.append(name)
        self.words[name] = words
        assert words[:2] == [sys.executable, "-m"]
        module, *arguments = words[2:]
        if module == "lmd":
            code, _, error = self.lmd(*arguments)
            assert code == 0, error
        elif module != "pytest":
            code = self._module(module, arguments)
        else:
            code = 0
        return parts.Result(name, 0.0, code, False)

    def _module(self, module: str, arguments: Sequence[str]) -> int:
        self.monkeypatch.setattr(sys, "argv", [module, *arguments])
        self.monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)  # Another test's.
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__")
        return int(end.value.code or 0)

    def begin(self, name: str, words: Sequence[str], out: Path, more: dict[str, str]) -> Here:
        self.returncode = self.run(name, words, out, 0, more).code  # type: ignore[attr-defined]
        return self

    def wait(self, seconds: float) -> None:
        pass


@pytest.mark.slow
def test_all_parts_run_without_a_gpu(tmp_path: Path, lmd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(lmd, monkeypatch)
    monkeypatch.setattr(gpu, "run", here.run)
    monkeypatch.setattr(gpu, "begin", here.begin)
    monkeypatch.setenv("LMD_GPU_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "work").mkdir()
    out = tmp_path / "out"
    assert gpu.main([str(out), "600", "--quick"]) == 0
    assert here.names == ["prepare", "methods", "tests", "stage1", "sweep"]
    rows = [json.loads(line) for line in (out / "methods.jsonl").read_text().splitlines()]
    assert [(row["method"], row["error"]) for row in rows] == [("ce", None), ("lmd", None)]
    assert len(json.loads((out / "stage1-cpu.json").read_text())["rows"]) == 6
    with tarfile.open(out / "runs-1.tar.gz") as archive:
        names = archive.getnames()
    assert {"table.json", "table.md", "runs/100/decoupling/seed-42/predictions-test.csv"} <= set(names)
    words = here.words["sweep"]
    assert 500 < float(words[words.index("--deadline") + 1]) < 592


def test_the_folds_have_the_time_that_is_left_and_their_answers_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[list[str], float]] = {}

    def run(name: str, words: list[str], _: Path, seconds: float, __: object) -> SimpleNamespace:
        asked[name] = (words, seconds)
        return SimpleNamespace(code=0)

    monkeypatch.setattr(gpu, "run", run)
    words = [str(tmp_path / "out"), "480", "--parts", "folds", "--folder", str(tmp_path), "--domain", "isic"]
    assert gpu._folds(gpu._parse(words), parts.Budget(480.0)) == 0
    assert list(asked) == ["folds-prepare", "folds-train", "folds-answers"]
    assert asked["folds-train"][1] == pytest.approx(480 - gpu.ANSWERING - gpu.PACKING, abs=1)
    for command, _ in asked.values():
        assert command[1:3] == ["-m", "benchmarks.win"]
        monkeypatch.setattr(sys, "argv", command[2:])
        assert comparison._parse().work.name == "win"


def test_folds_are_made_of_packed_images(
    tmp_path: Path, lmd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(number: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(toy.draw(number % 3, number)).save(file, "JPEG")
        return file.getvalue()

    def in_process(*words: object) -> None:
        assert lmd(*words)[0] == 0

    cases = [Case(f"{n}.jpg", toy.CLASSES[n % 3], f"g{n // 3}", drawn(n)) for n in range(60)]
    data.write(cases, tmp_path / "packed")
    (tmp_path / "packed" / data.WEIGHTS).write_bytes(b"weights")
    monkeypatch.setattr(folds, "lmd", in_process)
    folds.from_packed(tmp_path / "packed", tmp_path / "work")
    made = read_folds(tmp_path / "work" / "isic")
    assert len(made.datasets) == 5
    tested = pd.concat([one.split("test") for one in made.datasets.values()])
    assert sorted(tested["id"]) == sorted(case.file for case in cases)
    assert tested.groupby("group").size().eq(3).all()
    assert (tmp_path / "work" / folds.WEIGHTS).read_bytes() == b"weights"


def test_a_method_that_does_not_train_is_a_row(tmp_path: Path) -> None:
    from benchmarks.gpu import methods

    (tmp_path / "data").mkdir()
    row = methods.trained("ce", tmp_path / "data", tmp_path / "out", "test_resnet")
    assert row["error"].startswith("DataError: ")
    assert row["method"] == "ce"


def test_the_folder_is_made_of_images_weights_and_wheels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    isic = tmp_path / "isic"
    (isic / "ISIC_2019_Training_Input").mkdir(parents=True)
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    truth, meta = [["image", *classes]], [["image", "lesion_id"]]
    for number in range(4):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(isic / f"ISIC_2019_Training_Input/I{number}.jpg")
        truth.append([f"I{number}", *("1.0" if k == number else "0.0" for k in range(8))])
        meta.append([f"I{number}", "" if number == 3 else "L1"])
    for name, rows in (("GroundTruth", truth), ("Metadata", meta)):
        text = "\n".join(",".join(row) for row in rows)
        (isic / f"ISIC_2019_Training_{name}.csv").write_text(text)
    (tmp_path / "w").write_bytes(b"weights")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_bytes(b"wheel")
    words = ["--images", str(isic), "--weights", str(tmp_path / "w"), "--wheels", str(tmp_path / "wheels")]
    assert gpu_pack.main([*words, "--out", str(tmp_path / "as-is")]) == 0
    first, *_, last = data.read(tmp_path / "as-is")
    assert first == Case("I0.jpg", "MEL", "L1", (isic / "ISIC_2019_Training_Input" / "I0.jpg").read_bytes())
    assert (last.label, last.group) == ("AK", "I3")
    assert (tmp_path / "as-is" / "weights.safetensors").read_bytes() == b"weights"
    assert gpu_pack.main([*words, "--height", "15", "--out", str(tmp_path / "small")]) == 0
    small = list(data.read(tmp_path / "small"))[0]  # noqa: RUF015 - the file is closed at the end.
    (tmp_path / "small.jpg").write_bytes(small.content)
    with Image.open(tmp_path / "small.jpg") as image:
        assert image.size == (20, 15)
    assert "4 images" in capsys.readouterr().out


@pytest.mark.slow
def test_the_script_runs_without_a_gpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", tmp_path / "out", "600", "--quick"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"environment.json", "methods.jsonl", "parts.jsonl", "runs-1.tar.gz", "stage1-cpu.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
