"""A method's file is a program: it runs where the command line names it, or with --allow-code, and never else."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import lmd as package
from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.run import RunFolder
from lmd.seals import sealed_json
from tests import toy
from tests.command import Command, refused

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_method.py"
TINY = (
    "--budget", "smoke", "--set", "encoder=resnet10t", "--set", "pretrained=false", "--set", "size=16",
    "--set", "batch=8", "--set", "stage1.epochs=1",
)  # fmt: skip
WAY_OUT = ("whose code would run", "--allow-code")


class Program:
    """A sound method that leaves a mark whenever it is run."""

    def __init__(self, folder: Path) -> None:
        self.file, self.mark = folder / "mine.py", folder / "it-ran"
        self.file.write_text(
            f"{EXAMPLE.read_text()}\nimport pathlib\npathlib.Path({str(self.mark)!r}).touch()\n"
        )

    def ran(self) -> bool:
        """Whether it ran since the last question; what ran before counts as never loaded."""
        done = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        for name in [name for name in sys.modules if name.startswith("lmd_method_")]:
            del sys.modules[name]
        return done


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def trained(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the example."""
    settings = [word for word in TINY[2:] if word != "--set"]
    out = tmp_path_factory.mktemp("runs") / "run"
    package.train(dataset, out=out, method=EXAMPLE, budget="smoke", settings=settings)
    return out


def naming(run: Path, file: Path, to: Path) -> Path:
    """A copy of a run whose every file names another program."""
    shutil.copytree(run, to)
    for path in (to / "settings.yaml", to / "model" / "model.json"):
        path.write_text(path.read_text().replace(str(EXAMPLE), str(file)))
        assert str(file) in path.read_text()
    card = json.loads(path.read_text())  # Whoever changes the file can seal it again.
    path.write_text(sealed_json({name: value for name, value in card.items() if name != "sha256"}))
    return to


def test_a_recipe_that_names_a_file(lmd: Command, dataset: Dataset, program: Program, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump({"method": str(program.file)}))
    train = ("train", dataset.folder, "--recipe", recipe, "--out", out, *TINY)
    refused(lmd(*train), f"recipe {recipe} names the method file {program.file}", *WAY_OUT)
    assert not program.ran()
    assert not out.exists()
    with pytest.raises(SettingsError, match="allow_code=True"):
        package.train(dataset, out=out, recipe=recipe)
    assert not program.ran()
    assert lmd(*train, "--method", program.file)[0] == 0  # Named on the command line as well.
    assert program.ran()
    shutil.rmtree(out)
    assert lmd(*train, "--allow-code")[0] == 0
    assert program.ran()


def test_a_run_folder_that_names_a_file(
    lmd: Command, dataset: Dataset, trained: Path, program: Program, tmp_path: Path
) -> None:
    run = naming(trained, program.file, tmp_path / "run")
    resume = ("train", dataset.folder, "--out", run, "--resume")
    refused(lmd(*resume), f"{run} is a run of the method file {program.file}", *WAY_OUT)
    with pytest.raises(SettingsError, match="--allow-code"):
        package.train(dataset, out=run, resume=True)
    assert not program.ran()
    for words in (
        ("evaluate", run),
        ("predict", run, dataset.root / dataset.table["file"][0]),
        ("train", dataset.folder, "--method", "decoupling", "--from", run, "--out", tmp_path / "next", *TINY,
         "--set", "stage2.epochs=1"),
    ):  # fmt: skip
        code, _, err = lmd(*words)
        assert code == 0, err
        assert not program.ran()
    assert package.load(run).classes == dataset.classes
    assert not program.ran()


def test_a_resume_that_names_the_file_is_one_with_the_runs_own_settings(
    lmd: Command, dataset: Dataset, program: Program, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert lmd("train", dataset.folder, "--method", program.file, "--out", out, *TINY)[0] == 0
    assert program.ran()
    before = (out / "settings.yaml").read_bytes()
    for allowed in (("--method", program.file), ("--allow-code",)):
        code, _, err = lmd("train", dataset.folder, *allowed, "--out", out, "--resume")
        assert code == 0, err
        assert program.ran()
        assert (out / "settings.yaml").read_bytes() == before


def test_describing_a_file(lmd: Command, program: Program) -> None:
    refused(lmd("methods", program.file), f"{program.file} is a method file", *WAY_OUT)
    assert not program.ran()
    code, out, _ = lmd("methods", program.file, "--allow-code")
    assert code == 0
    assert "stage1.power = 0.5" in out
    assert program.ran()


def test_a_row_of_an_experiment(lmd: Command, dataset: Dataset, program: Program, tmp_path: Path) -> None:
    words = ("reproduce", "table3", "--data", f"100={dataset.folder}", "--out", tmp_path / "out")
    asked = (*words, "--methods", f"ce,{program.file}", "--budget", "smoke", "--seeds", 1, "--dry-run")
    refused(lmd(*asked), str(program.file), *WAY_OUT)
    assert not program.ran()
    code, out, err = lmd(*asked, "--allow-code")
    assert code == 0, err
    assert "100/mine/seed-42: missing" in out
    assert program.ran()
    with pytest.raises(SettingsError, match="allow_code=True"):
        package.reproduce("table3", dataset, tmp_path / "out", methods=[str(program.file)])


def test_what_is_named_deeper_never_runs_by_itself(
    dataset: Dataset, program: Program, tmp_path: Path
) -> None:
    """Whoever forgets to ask is refused: the file runs only where somebody has allowed it."""
    from lmd.training.start import train

    settings = methods.settings_of("ce", "smoke")
    with pytest.raises(SettingsError, match="--allow-code"):
        methods.load(str(program.file))
    with pytest.raises(SettingsError, match="--allow-code"):
        train(dataset, str(program.file), settings.model_copy(update={"pretrained": False}), tmp_path / "run")
    assert not program.ran()
    assert not RunFolder(tmp_path / "run").weights.exists()


def test_modules_beside_the_images_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder's process must not take "numpy" from the folder in which the command was called."""
    import numpy as np

    from lmd.data.decode import dicom_worker

    for name in ("numpy", "json", "queue", "pydicom"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    while not dicom_worker._idle.empty():
        dicom_worker._end(dicom_worker._idle.get())
    with pytest.raises(ValueError, match="gave up"):
        dicom_worker.decode_apart(tmp_path / "none.dcm", 0)
    assert not (tmp_path / "it-ran").exists()
    assert np.zeros(1).sum() == 0
