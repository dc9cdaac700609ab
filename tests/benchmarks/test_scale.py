"""The benchmarks of many images and of timm's script: what they compute, on stand-ins that take no time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import against_timm, scale_data
from lmd.data.audit.looks import look_at
from lmd.data.dataset.manifest import read_dataset
from lmd.data.decode.cache import open_cache
from tests import toy

SCRIPT = """
import sys, time
assert sys.argv[sys.argv.index("--model") + 1] == "resnet18"
for epoch in range(4):
    for step in range(2):
        print(f"Train: {epoch} [   {step}/2 (0%)]  Loss: 1.0", flush=True)
        time.sleep(0.1)
"""


def test_the_line_that_was_there_is_found() -> None:
    rows = [
        {"verb": "x", "images": n, "seconds": 2.0 + 1e-5 * n**1.3, "bytes": 10**8 + 1500 * n}
        for n in (1000, 10_000, 100_000, 1_000_000)
    ]
    found = scale_data.fit(rows)
    assert found["c"] == pytest.approx(1.3, abs=0.01)
    assert found["a"] == pytest.approx(2, rel=0.02)
    assert found["b"] == pytest.approx(1e-5, rel=0.1)
    assert found["bytes_for_each_image"] == pytest.approx(1500)


def test_numbers_and_figure_are_written(tmp_path: Path) -> None:
    rows = [
        {"verb": verb, "images": n, "seconds": n / 100, "bytes": 1000 * n}
        for verb in ("begin", "inspect again")
        for n in (10, 100, 1000)
    ]
    scale_data.write(rows, tmp_path)
    assert set(json.loads((tmp_path / "scale-data.json").read_text())["fits"]) == {"begin", "inspect again"}
    assert "<svg" in (tmp_path / "scale-data.svg").read_text()


def test_a_listed_data_set_needs_no_decoding(tmp_path: Path) -> None:
    scale_data.list_images(tmp_path / "listed", 300)
    scale_data.sparse_cache(tmp_path / "listed", 300)
    dataset = read_dataset(tmp_path / "listed")
    pixels = open_cache(dataset, scale_data.SIZE)
    assert pixels.shape == (300, 3, 64, 64)
    assert not pixels.any()
    seen = look_at(dataset)
    assert (len(seen.good()), seen.missing, seen.broken) == (300, [], {})


def test_an_epoch_of_the_script_is_from_start_to_start(tmp_path: Path) -> None:
    (tmp_path / "folders" / "train" / "a").mkdir(parents=True)
    (tmp_path / "train.py").write_text(SCRIPT)
    options = argparse.Namespace(timm=tmp_path / "train.py", epochs=3, workers=1, threads=1, precision="fp32")
    seconds, processor = against_timm.theirs(options, tmp_path)
    assert 0.19 < seconds < 2
    assert processor < seconds


def test_both_get_the_same_images(tmp_path: Path) -> None:
    data = toy.make_dataset(tmp_path / "toy")
    some = read_dataset(against_timm.some_images(data.folder, tmp_path, 50))
    links = list((tmp_path / "folders").rglob("*.png"))
    assert sorted(some.paths()) == sorted(link.resolve() for link in links)
    assert some.counts("train").sum() == sum("train" in link.parts for link in links) == 50
