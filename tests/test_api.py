"""The Python interface: docs/api.md as it is written, light imports, and errors of one line."""

from __future__ import annotations

import ast
import importlib
import importlib.resources
import inspect
import pkgutil
import re
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset as Dicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import lmd
import lmd as package
from lmd.api.runs import train
from lmd.data.audit.results import Fingerprint
from lmd.data.dataset.manifest import Dataset
from lmd.data.feed import OrderSampler, class_shares
from lmd.data.feed.sampling import Sampling
from lmd.evaluation import measure
from lmd.evaluation.parts import Estimate
from lmd.models import encoder, sources
from lmd.planning import rules
from lmd.training.progress import Silent
from tests import toy
from tests.command import Command
from tests.test_house import HEAVY, ROOT, modules_after

PAGE = ROOT / "docs" / "api.md"


# Snippets: what a page shows runs as it stands.


class Block(NamedTuple):
    """Some lines of Python in a page, with the number of the line before them."""

    code: str
    line: int


def fenced(text: str) -> list[Block]:
    """The ```python blocks of a markdown page."""
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [Block(match[1], text[: match.start(1)].count("\n")) for match in found]


def indented(text: str) -> list[Block]:
    """The indented lines of a docstring, as one block."""
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [Block("\n".join(lines), 0)] if lines else []


SNIPPETS = {
    "docs/api.md": fenced(PAGE.read_text()),
    "README.md": fenced((ROOT / "README.md").read_text()),
    "lmd.__doc__": indented(lmd.__doc__ or ""),
}
ISSUE = """
import lmd
data = lmd.prepare("folder", root="images", out="data")      # or lmd.read_dataset("data")
run = lmd.train(data, method="lmd", out="run", seed=1)
lmd.evaluate(run, split="test").metrics["bacc"]               # value, low, high
lmd.load("run").predict(["a.jpg", "b.dcm"])                   # a table of probabilities
"""


def run_block(block: Block, names: dict[str, Any], file: str) -> list[Any]:
    """Runs a block; returns the values of its lines that are a value alone, as a notebook would show them."""
    tree = ast.increment_lineno(ast.parse(block.code), block.line)
    shown = []
    for node in tree.body:
        if isinstance(node, ast.Expr):
            shown.append(eval(compile(ast.Expression(node.value), file, "eval"), names))
        else:
            exec(compile(ast.Module([node], []), file, "exec"), names)
    return shown


def make_images(folder: Path) -> None:
    """The folder that the snippets start from: images by class, a photograph and a DICOM file."""
    for label, (name, count) in enumerate({"common": 24, "less": 18, "rare": 16}.items()):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(toy.draw(label, number, 40)).save(folder / "images" / name / f"{number}.png")
    Image.fromarray(toy.draw(0, 99, 40)).save(folder / "a.jpg")
    write_dicom(folder / "b.dcm", toy.draw(2, 99, 40)[:, :, 0].copy())


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    dataset, meta = Dicom(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta = meta
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.add(pydicom.DataElement("PixelData", "OB", pixels.tobytes()))
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with what the snippets name, while timm has no weights to download.

    Tests have no network: in place of ImageNet's weights, an encoder keeps those that were drawn. They have no
    minutes either: a plan has few steps.
    """
    folder, obtain = tmp_path_factory.mktemp("snippets"), sources.obtain

    def without_download(name: str, pretrained: bool, weights: str | None) -> Any:
        return obtain(name, False, weights)

    make_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "obtain", without_download)
        patch.setattr(rules, "FEWEST_STEPS", 20)
        yield folder


class Ran(NamedTuple):
    """Where the blocks of a page ran, the names that they left, and what each of them showed."""

    folder: Path
    names: dict[str, Any]
    shown: list[list[Any]]


@pytest.fixture(scope="module")
def page(place: Path) -> Ran:
    """docs/api.md, run from top to bottom."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shown = [run_block(block, names, "docs/api.md") for block in SNIPPETS["docs/api.md"]]
    return Ran(place, names, shown)


def meaning(block: Block) -> str:
    """A block without comments and spaces."""
    return ast.dump(ast.parse(block.code))


def test_the_page_begins_with_the_snippet_of_the_issue(page: Ran) -> None:
    assert meaning(SNIPPETS["docs/api.md"][0]) == meaning(Block(ISSUE, 0))
    bacc, answers = page.shown[0]
    assert isinstance(bacc, Estimate)
    assert bacc.low is not None
    assert bacc.value is not None
    assert bacc.high is not None
    assert bacc.low <= bacc.value <= bacc.high
    assert answers["id"].tolist() == ["a.jpg", "b.dcm"]
    shares = answers[["p_common", "p_less", "p_rare"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-9)
    assert answers["predicted"].tolist() == np.array(["common", "less", "rare"])[shares.argmax(1)].tolist()


def test_the_whole_page_runs(page: Ran) -> None:
    assert len(page.shown) == len(SNIPPETS["docs/api.md"]) >= 10
    assert page.names["run"].path == Path("run")
    for file in ("report.html", "MODEL_CARD.md", "evaluation-test.json", "predictions-test.csv"):
        assert (page.folder / "run" / file).is_file()
    assert not (page.folder / "other").exists()
    assert page.names["scores"].shape == (1000, 3)
    assert torch.isfinite(page.names["scores"]).all()
    assert page.names["virtual"].shape == (300, 8)


@pytest.mark.parametrize("source", ["README.md", "lmd.__doc__"])
def test_a_snippet_elsewhere_is_one_of_the_page_or_runs_by_itself(
    source: str, page: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {meaning(block) for block in SNIPPETS["docs/api.md"]}
    make_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in SNIPPETS[source]:
        if meaning(block) not in known:
            run_block(block, names, source)


def test_the_package_shows_the_snippet() -> None:
    assert [meaning(block) for block in SNIPPETS["lmd.__doc__"]] == [meaning(Block(ISSUE, 0))]


def test_blocks_are_found_and_run() -> None:
    text = "Words\n```python\nx = 2\nx + 1\n```\n```\nnot python\n```\n```python\nx * y\n```\n"
    first, second = fenced(text)
    names: dict[str, Any] = {}
    assert run_block(first, names, "page") == [3]
    with pytest.raises(NameError) as error:
        run_block(second, names, "page")
    assert error.traceback[-1].lineno == 10 - 1  # The line of the page; pytest counts from 0.
    assert meaning(Block("f(1)  # one", 0)) == meaning(Block("f( 1 )", 0)) != meaning(Block("f(2)", 0))


def sections(text: str) -> dict[str, str]:
    """The sections below ### headings, by heading."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def in_table(section: str) -> set[str]:
    """The names in the first column of a section's tables."""
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


FUNCTIONS = [name for home in ("data", "dicom", "runs", "several") for name in lmd._HOMES[f"lmd.api.{home}"]]


@pytest.mark.parametrize(
    ("heading", "function"),
    [(f"lmd.{name}", getattr(lmd, name)) for name in FUNCTIONS if name != "load"]
    + [("Metrics", measure), ("lmd.embed", lmd.embed), ("lmd.fit", lmd.fit)],
)
def test_the_page_has_every_argument(heading: str, function: Callable[..., Any]) -> None:
    section = sections(PAGE.read_text())[heading]
    there = set(inspect.signature(function).parameters)
    # What `progress` is called with stands above the tables, for all.
    assert in_table(section) | {"progress"} == there | {"progress"}


def test_the_page_has_every_public_function_and_loss() -> None:
    text = PAGE.read_text()
    functions = [f"`lmd.{name}`" for name in FUNCTIONS]
    errors = [f"`lmd.{name}`" for name in lmd._HOMES["lmd.errors"]]
    losses = [f"`{name}`" for name in lmd.losses.__all__]
    assert [name for name in functions + errors + losses if name not in text] == []
    assert sorted(in_text(sections(text)["Sampler"])) == sorted(get_args(Sampling))


def in_text(section: str) -> set[str]:
    """The texts in quotes of a table's first column."""
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith('| "')]
    return {name for cell in cells for name in re.findall(r'"(\w+)"', cell)}


# The package.


def test_importing_takes_less_than_a_tenth_of_a_second() -> None:
    """Processor time of the import alone: other processes on the machine do not count."""
    code = "import time\nt = time.process_time()\nimport lmd\nprint(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert statistics.median(float(run.stdout) for run in runs) < 0.1


def test_looking_at_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import lmd\ndir(lmd); lmd.LmdError; lmd.__version__; lmd.__doc__") & HEAVY
    assert "torch" in modules_after("import lmd\nlmd.losses")


@pytest.mark.parametrize("name", lmd.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(lmd, name) is not None


def test_dir_has_the_public_names() -> None:
    assert dir(lmd) == sorted(lmd.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lmd' has no attribute 'trian'"):
        lmd.trian  # noqa: B018
    assert not hasattr(lmd, "pandas")


def test_the_package_says_that_it_is_typed() -> None:
    assert (importlib.resources.files("lmd") / "py.typed").is_file()


# What the functions give.


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


TINY: dict[str, Any] = {**toy.COMMON, "stage1": {"epochs": 2, "optimisation": {"lr": 0.02}}}


def test_inspect_gives_a_fingerprint(dataset: Dataset) -> None:
    found = lmd.inspect(dataset.folder)
    assert isinstance(found, Fingerprint)
    assert found.imbalance == 8.0
    assert found.files is not None
    assert lmd.inspect(dataset, look=False).files is None


def test_settings_may_be_a_tree_or_texts_and_are_those_of_the_command(
    lmd: Command, dataset: Dataset, tmp_path: Path
) -> None:
    tree = {**TINY, "size": np.int64(16), "seed": 5}
    texts = ["encoder=test_resnet", "pretrained=false", "size=16", "batch=8", "seed=5"]
    texts += ["stage1.epochs=2", "stage1.optimisation.lr=0.02"]
    given = {"seed": 5, "stage1.epochs": 2, "stage1.optimisation.lr": 0.02}
    runs = [
        train(dataset, method="ce", settings=tree, out=tmp_path / "tree"),
        train(dataset.folder, method="ce", settings=texts, out=str(tmp_path / "texts")),
        train(dataset, method="ce", settings={**toy.COMMON, **given}, out=tmp_path / "both"),
    ]
    options = [word for text in texts for word in ("--set", text)]
    code, _, error = lmd("train", dataset.folder, "--method", "ce", *options, "--out", tmp_path / "command")
    assert code == 0, error
    runs.append(package.RunFolder(tmp_path / "command"))
    assert len({run.settings.read_text() for run in runs}) == 1
    assert len({run.weights.read_bytes() for run in runs}) == 1


class Stop(Silent):
    """Stops a training after its first epoch."""

    def finished(self, record: dict[str, Any]) -> None:
        raise KeyboardInterrupt


def test_resume_alone_goes_on_with_the_settings_of_the_run(dataset: Dataset, tmp_path: Path) -> None:
    wanted = {"method": "ce", "budget": "smoke", "settings": TINY, "seed": 3}
    whole = lmd.train(dataset, out=tmp_path / "whole", **wanted)
    with pytest.raises(KeyboardInterrupt):
        lmd.train(dataset, out=tmp_path / "stopped", progress=Stop(), **wanted)
    with pytest.raises(lmd.CheckpointError, match=r"settings\.seed was 3, now 4"):
        lmd.train(dataset, out=tmp_path / "stopped", resume=True, **{**wanted, "seed": 4})
    resumed = lmd.train(dataset, out=tmp_path / "stopped", resume=True)
    assert resumed.settings.read_text() == whole.settings.read_text()
    weights = load_file(whole.weights)
    assert all(torch.equal(value, weights[name]) for name, value in load_file(resumed.weights).items())


MISTAKES: dict[str, tuple[str, Callable[[Path, str], Any], str]] = {
    "no such source": ("SettingsError", lambda out, data: lmd.prepare("foldr", out=out), "'folder'"),
    "no such option": (
        "SettingsError",
        lambda out, data: lmd.prepare("folder", out=out, rot="x"),
        "mean 'root'",
    ),
    "a missing option": (
        "SettingsError",
        lambda out, data: lmd.prepare("folder", out=out),
        "source 'folder' needs the option 'root'",
    ),
    "no images": (
        "DataError",
        lambda out, data: lmd.prepare("folder", root=out / "no", out=out),
        "no folder",
    ),
    "no data": ("DataError", lambda out, data: lmd.read_dataset(out), "no dataset folder"),
    "nothing to inspect": ("DataError", lambda out, data: lmd.inspect(out), "no dataset folder"),
    "no such method": ("SettingsError", lambda out, data: lmd.train(data, method="lmdd", out=out), "'lmd'"),
    "no such file": (
        "SettingsError",
        lambda out, data: lmd.train(data, method=out / "m.py", out=out),
        "no method file",
    ),
    "no such budget": ("SettingsError", lambda out, data: lmd.train(data, budget="shrt", out=out), "'short'"),
    "no such setting": (
        "SettingsError",
        lambda out, data: lmd.train(data, settings={"stage1.epoch": 3}, out=out),
        "'stage1.epochs'",
    ),
    "a value out of range": (
        "SettingsError",
        lambda out, data: lmd.train(data, settings="stage1.epochs=0", out=out),
        "stage1.epochs = 0",
    ),
    "no value at all": (
        "SettingsError",
        lambda out, data: lmd.train(data, settings={"seed": object()}, out=out),
        "seed: object",
    ),
    "no weights": (
        "CheckpointError",
        lambda out, data: lmd.train(data, weights=out / "w.safetensors", out=out),
        "no weights file",
    ),
    "no run to evaluate": ("CheckpointError", lambda out, data: lmd.evaluate(out), "no such run"),
    "no run to load": ("CheckpointError", lambda out, data: lmd.load(str(out)), "no such run"),
    "no such table": ("SettingsError", lambda out, data: lmd.reproduce("table9", data, out), "table9"),
    "a distance that is none": ("SettingsError", lambda out, data: lmd.inspect(data, near=65), "near = 65"),
    "no such setting of a table": (
        "SettingsError",
        lambda out, data: lmd.reproduce("table1", data, out, settings={"stage1.epoch": 1}),
        "did you mean 'stage1.epochs'",
    ),
    "no such request": (
        "SettingsError",
        lambda out, data: lmd.reproduce("table1", data, out, seed=1),
        "'seeds'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_of_one_line(mistake: str, dataset: Dataset, tmp_path: Path) -> None:
    kind, call, words = MISTAKES[mistake]
    with pytest.raises(lmd.LmdError) as error:
        call(tmp_path / "out", str(dataset.folder))
    assert type(error.value).__name__ == kind
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_read_and_splits_that_are_not_there(page: Ran) -> None:
    run = page.folder / "run"
    model = lmd.load(run)
    mixed = [page.folder / "a.jpg", run / "settings.yaml"]
    for images in ("nowhere.jpg", [], mixed):
        with pytest.raises(lmd.DataError):
            model.predict(images)
    assert len(model.predict(mixed, skip_bad=True)) == 1
    assert len(model.predict(page.folder / "images" / "rare")) == 16
    with pytest.raises(lmd.DataError, match="'test'"):
        lmd.evaluate(run, split="tset")


# The losses.


def loss_modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(lmd.losses.__path__)]


# What losses share among themselves; and the one function with the name of its module.
NOT_OFFERED = {
    "cheaper_from_rows", "combine", "dense", "disagreement", "factorise", "not_positive_definite",
    "variances_of", "Chunk",
}  # fmt: skip


@pytest.mark.parametrize("module", loss_modules())
def test_every_public_loss_has_a_short_name(module: str) -> None:
    tree = ast.parse((ROOT / "src" / "lmd" / "losses" / f"{module}.py").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in defined if not name.startswith("_")}
    assert public - set(lmd.losses.__all__) <= NOT_OFFERED
    for name in public & set(lmd.losses.__all__):
        assert getattr(lmd.losses, name).__module__ == f"lmd.losses.{module}"


def test_short_names_exist_and_hide_no_module() -> None:
    assert sorted(lmd.losses.__all__) == sorted(set(lmd.losses.__all__))
    assert [name for name in lmd.losses.__all__ if not callable(getattr(lmd.losses, name))] == []
    for name in loss_modules():
        importlib.import_module(f"lmd.losses.{name}")
    hidden = [name for name in loss_modules() if not inspect.ismodule(getattr(lmd.losses, name))]
    assert hidden == []


def imported_by(code: str) -> set[str]:
    """The modules that some code imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_losses_need_torch_and_jaxtyping_alone() -> None:
    files = [*(ROOT / "src" / "lmd" / "losses").glob("*.py"), ROOT / "src" / "lmd" / "numerics.py"]
    names = {name for file in files for name in imported_by(file.read_text())}
    own = {name for name in names if name.startswith("lmd.")}
    assert {name for name in own if not name.startswith("lmd.losses.")} == {"lmd.numerics", "lmd.graphed"}
    others = {name.partition(".")[0] for name in names - own} - set(sys.stdlib_module_names)
    assert others == {"torch", "jaxtyping"}
    assert imported_by("import a.b\ndef f():\n    from c.d import e") == {"a.b", "c.d"}


# The sampler.

LABELS = np.repeat(["nevus", "melanoma", "lentigo"], [700, 250, 50])


def epochs_of(sampler: OrderSampler, epochs: Sequence[int], batch: int = 64) -> list[list[int]]:
    """The rows that a DataLoader gives in some epochs."""
    loader = DataLoader(torch.arange(len(LABELS)), batch_size=batch, sampler=sampler, num_workers=0)
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found.append(torch.cat(list(loader)).tolist())
    return found


@pytest.mark.parametrize("kind", get_args(Sampling))
def test_a_loader_draws_each_class_as_often_as_the_rule_says(kind: Sampling) -> None:
    sampler = OrderSampler(LABELS, kind, seed=3, epochs=40)
    epochs = [20] * 40 if kind in ("instance", "class_aware") else range(40)
    rows = np.array(epochs_of(sampler, epochs))
    assert rows.shape == (40, len(LABELS)) == (40, len(sampler))
    _, counts = np.unique(LABELS, return_counts=True)  # In the order of the names.
    progress = np.mean([epoch / 39 for epoch in epochs])
    shares = class_shares(kind, counts, float(progress))
    drawn = np.array([(LABELS[rows] == name).mean() for name in np.unique(LABELS)])
    np.testing.assert_allclose(drawn, shares, atol=5 * 0.5 / np.sqrt(rows.size))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first, again, third = epochs_of(OrderSampler(LABELS, seed=1), [0, 0, 1])
    assert first == again != third
    numbers = np.unique(LABELS, return_inverse=True)[1]
    assert epochs_of(OrderSampler(torch.from_numpy(numbers), seed=1), [0, 1], batch=7) == [first, third]
    assert epochs_of(OrderSampler(list(LABELS), seed=2), [0]) != [first]
    assert all(type(row) is int for row in OrderSampler(LABELS))


def test_progressive_sampling_moves_from_the_images_to_the_classes() -> None:
    sampler = OrderSampler(LABELS, "progressive", epochs=5)
    shares = [(LABELS[rows] == "lentigo").mean() for rows in epochs_of(sampler, range(7))]
    np.testing.assert_allclose(shares[0], 0.05, atol=0.04)
    np.testing.assert_allclose(shares[4:], 1 / 3, atol=0.08)  # It stays there, should it be trained longer.


def test_processes_share_one_order() -> None:
    whole = list(OrderSampler(LABELS, "instance"))
    parts = [OrderSampler(LABELS, "instance", rank=rank, world=3) for rank in range(3)]
    assert [len(part) for part in parts] == [334] * 3
    assert [row for rows in zip(*parts, strict=True) for row in rows][:1000] == whole


def test_a_sampler_refuses_what_it_cannot_draw_from() -> None:
    with pytest.raises(lmd.SettingsError, match="did you mean 'balanced'"):
        OrderSampler(LABELS, "balancd")  # type: ignore[arg-type]
    for labels in ([], [[0, 1]], 3):
        with pytest.raises(lmd.DataError, match="one label for each image"):
            OrderSampler(labels)


def test_the_sampler_does_without_torch() -> None:
    assert "torch" not in modules_after("from lmd.data.feed import OrderSampler\nlist(OrderSampler([0, 1]))")


# The metrics.


def test_measure_agrees_with_evaluate(page: Ran) -> None:
    expected = lmd.evaluate(page.folder / "run", "train", data=page.folder / "data")
    table = pd.read_csv(page.folder / "run" / "predictions-train.csv").sort_values("id")
    classes = [entry.name for entry in expected.classes]
    bands = {band: entry.classes for band, entry in expected.bands.items()}
    labels = table["label"].map(classes.index)
    columns = table[[f"p_{name}" for name in classes]]
    found = measure(labels, columns, table["group"], classes=classes, bands=bands, split="train")
    beyond = {name for name in type(found).model_fields if getattr(found, name) is None}
    assert found.model_dump(exclude=beyond | {"reasons"}) == expected.model_dump(exclude=beyond | {"reasons"})
    assert found.reasons.items() <= expected.reasons.items()
    bare = measure(torch.tensor(labels.to_numpy()), columns.to_numpy().tolist())
    assert bare.metrics == expected.metrics  # Each group is one image here.
    assert [entry.name for entry in bare.classes] == ["0", "1", "2"]


def test_cases_of_one_group_are_drawn_together() -> None:
    labels = np.repeat([0, 1], 20)
    shares = np.where(np.arange(40)[:, None] // 10 % 2 == [0, 1], 0.9, 0.1)
    alone, together = measure(labels, shares), measure(labels, shares, np.arange(40) // 10)
    assert together.interval.clusters == 4
    assert together.interval.clustered
    assert not alone.interval.clustered
    assert together.metrics["bacc"].value == alone.metrics["bacc"].value == 0.5
    width = [found.metrics["bacc"].high - found.metrics["bacc"].low for found in (alone, together)]
    assert width[1] > 2 * width[0]


GOOD = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([0, 1], [[3.0, -2.0], [0.1, 0.9]]), {}, "softmax"),
        (([0, 1], [[0.9, 0.9], [0.1, 0.9]]), {}, "case 0"),
        (([0, 1], [[0.9, 0.1], [np.nan, 0.9]]), {}, "case 1"),
        (([0, 1], [0.9, 0.1]), {}, "shape"),
        (([], np.zeros((0, 2))), {}, "shape"),
        (([0, 2], GOOD), {}, "from 0 to 1"),
        (([0, -1], GOOD), {}, "from 0 to 1"),
        ((["a", "b"], GOOD), {}, "whole numbers"),
        (([0], GOOD), {}, "2 cases"),
        (([0, 1], GOOD, ["x"]), {}, "groups"),
        (([0, 1], GOOD, ["x", None]), {}, "case 1 has no group"),
        (([0, 1], GOOD, [float("nan"), 3.0]), {}, "case 0 has no group"),
        (([0, 1], GOOD), {"classes": ["a"]}, "2 classes"),
        (([0, 1], GOOD), {"classes": ["a", "a"]}, "2 classes"),
        (([0, 1], GOOD), {"bands": {"tail": ["c"]}}, "'c'"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(lmd.DataError, match=words):
        measure(*arguments, **options)


def test_names_of_classes_may_be_numbers_and_probabilities_may_have_a_gradient() -> None:
    shares = torch.tensor(GOOD, requires_grad=True)
    assert [entry.name for entry in measure([0, 1], shares, classes=[3, 5]).classes] == ["3", "5"]  # type: ignore[list-item]


def test_half_precision_can_be_measured() -> None:
    shares = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)).softmax(1).half()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure(torch.arange(200) % 7, shares).n == 200
