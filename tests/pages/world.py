"""A folder with everything that the pages name: images, tables, a data set, runs; all of it drawn and tiny."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import timm
from PIL import Image
from safetensors.torch import save_file

from tests import toy
from tests.data.dataset.test_shards import sample
from tests.data.dataset.test_shards import write as write_shard
from tests.data.dataset.test_sources_hyper_kvasir import FINDINGS
from tests.data.dataset.test_sources_isic2019 import make_raw
from tests.data.dataset.test_sources_isic_archive import export
from tests.data.dataset.test_sources_medmnist import make as make_medmnist
from tests.deployment.dicom.patients import image, written
from tests.pages.blocks import Typed
from tests.test_api import make_images
from tests.test_words import ROOT

CLASSES = {"MEL": 30, "NV": 48, "BCC": 24}  # and images of each
# What makes a command small, or has it find what is here: values of options in place of its own.
SMALL = {
    r"embed (?!.*package:)": {"--encoder": "test_resnet", "--size": "16"},
    r"embed .*package:": {"--size": "16"},
    r"prepare phantom ": {
        "--images": "24", "--imbalance": "8", "--size": "32", "--val-per-class": "1", "--test-per-class": "1",
    },
    r"prepare isic-archive ": {"--root": "archive"},
    r"prepare folder .*--group-folders": {"--root": "patients"},
    r"prepare table .*--folds": {"--folds": "2"},
    r"prepare table .*--out OTHER": {"--table": "elsewhere.csv", "--root": "elsewhere"},
    r"train ": {"--budget": "smoke"},
}  # fmt: skip
TRAIN = ["encoder=test_resnet", "pretrained=false", "size=16", "batch=16", "stage1.epochs=1"]
LMD = ["iterations=1", "m_step.virtual_per_class=40", "m_step.batch=20"]
# Made before a page is run, because it takes it as given.
EVERYWHERE = [
    "lmd prepare table --table cases.csv --root IMAGES --out DATA",
    "lmd train DATA --method lmd --out RUN",
    "lmd evaluate RUN",
]
SEEDS = [
    f"lmd train DATA --method {name} --seed {seed} --out {name}-{seed}"
    for name in ("ce", "lmd")
    for seed in (1, 2, 3)
]
BEFORE = {
    "docs/compare.md": SEEDS,
    "docs/methods/bn_control.md": ["cp -r RUN LMD"],
    "docs/tune.md": ["mkdir SEARCH", "cp recipes/isic2019-64/lmd.yaml SEARCH/best-lmd.yaml"],
    "docs/weights.md": [
        f"lmd prepare phantom --seed {seed} --out {name}" for seed, name in ((1, "COMMON"), (2, "RARE"))
    ],
}


def small(command: Typed) -> list[str]:
    """The words of a command of lmd, with what makes it small in place of what does not."""
    words = list(command.words[1:])
    if "--resume" in words:
        return words
    for begins, options in SMALL.items():
        if re.match(f"lmd {begins}", command.text):
            words = _with(words, options)
    return [*words, *_settings(words)] if words[0] == "train" else words


def _with(words: list[str], options: dict[str, str]) -> list[str]:
    """The words with these options, each once."""
    for option, value in options.items():
        place = words.index(option) if option in words else len(words)
        words = [*words[:place], option, value, *words[place + 2 :]]
    return words


def _settings(words: Sequence[str]) -> list[str]:
    """The settings that make a training tiny, but for those that the command has itself."""
    given = dict(itertools.pairwise(words))
    method = given.get("--method", Path(given.get("--recipe", "lmd")).stem)
    own = [words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "--set"]
    own += ["pretrained"] if "--weights" in words else []
    wanted = [*TRAIN, *(LMD if re.match("(best-)?lmd", method) else [])]
    return [part for text in wanted if text.partition("=")[0] not in own for part in ("--set", text)]


def build(folder: Path) -> Path:
    """Makes the folder: raw files first, then the data set and the runs that pages take as given."""
    make_images(folder)
    _images_and_table(folder)
    _other_sources(folder)
    for name in ("recipes", "examples"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def _images_and_table(folder: Path) -> None:
    """Class folders whose images lie in folders of patients, tables of them, and what else is asked for."""
    _drawn(folder / "IMAGES", folder / "cases.csv", CLASSES, "{name}/ward{number}/{patient}/{number}.png")
    others = dict.fromkeys(CLASSES, 6)
    _drawn(
        folder / "patients",
        folder / "patients.csv",
        dict.fromkeys(CLASSES, 20),
        "{name}/{patient}/{number}.png",
    )
    _drawn(folder / "elsewhere", folder / "elsewhere.csv", others, "{patient}-{number}.png", first=500)
    for name in ("new1.jpg", "new2.jpg", "new.jpg", "new/one.png", "new/two.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(toy.draw(len(name) % 3, 99)).save(folder / name)
    for number, name in enumerate(("image.dcm", "more/one.dcm", "more/two.dcm")):
        written(folder / name, image(number, number))
    codes = [["MEL", "372244006", "Malignant melanoma"], ["BCC", "254701007", "Basal cell carcinoma of skin"]]
    _write(folder / "codes.csv", ["class", "code", "meaning"], codes)
    _write(folder / "clinic.csv", ["class", "share"], [["MEL", 0.1], ["NV", 0.8], ["BCC", 0.1]])
    _write(folder / "costs.csv", ["class", *CLASSES], [["MEL", 0, 50, 5], ["NV", 1, 0, 1], ["BCC", 1, 10, 0]])


def _drawn(folder: Path, table: Path, counts: dict[str, int], place: str, first: int = 0) -> None:
    """Draws images, two of each patient, and writes their table."""
    rows = []
    for label, name in enumerate(counts):
        for number in range(first, first + counts[name]):
            patient = f"P{label}{number // 2:03d}"
            file = place.format(name=name, number=number, patient=patient)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(toy.draw(label, number)).save(folder / file)
            rows.append(
                [file, name, patient, "fm"[number // 2 % 2], 20 + number // 2 % 60, "ab"[number // 4 % 2]]
            )
    _write(table, ["image", "label", "patient_id", "sex", "age", "site"], rows)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _other_sources(folder: Path) -> None:
    """Small ones of the kinds that published data sets have, and weights of a small encoder."""
    counts = dict.fromkeys(["MEL", "BCC", "AK", "BKL", "DF", "VASC", "SCC"], 6)
    make_raw(folder / "ISIC_2019", {"NV": 10, **counts})
    names = export(folder / "metadata.csv", "today", per_class=4)["isic_id"]
    (folder / "archive").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(toy.draw(number % 3, number)).save(folder / "archive" / f"{name}.jpg")
    _kvasir(folder)
    make_medmnist(folder / "dermamnist_64.npz", size=64)
    _shards(folder / "SHARDS")
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "resnet18.safetensors")
    (folder / "FILE").symlink_to("resnet18.safetensors")


def _shards(folder: Path) -> None:
    """Shards of one image each, whose names say the splits, with numbers for labels."""
    for number in range(147 + 8):
        split = "train" if number < 147 else ["val", "test"][number % 2]
        members = sample(number, label=number // 2 % 2, patient=f"p{number}")
        write_shard(folder / f"{split}-{number:06d}.tar", members)


def _kvasir(folder: Path) -> None:
    """A small Hyper-Kvasir: its tree, its table and official folds; two names lead to it."""
    root, rows, folds = folder / "labeled-images", [], []
    for number in range(36):
        organ, finding, kind = FINDINGS[number % 3]
        place = root / f"{organ.lower().replace(' ', '-')}-tract" / kind / finding / f"image-{number:02d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(toy.draw(number % 3, number)).save(place)
        rows.append([place.stem, organ, finding, kind])
        folds.append(f"{place.name};{finding};{number // 3 % 5}")
    _write(root / "image-labels.csv", ["Video file", "Organ", "Finding", "Classification"], rows)
    lines = ["file-name;class-name;split-index", *folds]
    (folder / "hyper-kvasir_5_fold_split.csv").write_text("\n".join(lines) + "\n")
    (folder / "HYPER_KVASIR").symlink_to(root.name)
