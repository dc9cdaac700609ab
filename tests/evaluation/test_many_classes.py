"""Case J1 of ../shared/cases: an evaluation of 200 classes takes seconds and little memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = r"""
import json, re, sys, time
from pathlib import Path
import numpy as np, pandas as pd
from lmd.evaluation.evaluate import evaluate
from lmd.reporting.figures import class_recalls, confusion_matrix, most_confused

classes, count = map(int, sys.argv[1:])
random = np.random.default_rng(0)
labels = np.arange(count) % classes
shares = random.random((count, classes)) ** 8
shares[np.arange(count), labels] += 0.5
names = [f"class {k}" for k in range(classes)]
table = pd.DataFrame(shares / shares.sum(1, keepdims=True), columns=[f"p_{name}" for name in names])
numbers = [str(row) for row in range(count)]
given = pd.DataFrame({"id": numbers, "group": numbers, "label": [names[k] for k in labels]})
start = time.process_time()
result = evaluate(pd.concat([given, table], axis=1), names, {"all": names}, "test")
pictures = confusion_matrix(result.confusion, names), class_recalls({"test": result})
# Not ru_maxrss: that begins with what the process had that started this one.
print(json.dumps({
    "seconds": time.process_time() - start,
    "megabytes": int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024,
    "characters": sum(map(len, pictures)),
    "pairs": most_confused(result),
}))
"""


@pytest.mark.parametrize(("classes", "count"), [(200, 200), (200, 10_000), (1000, 2000)])
def test_j1_many_classes_take_seconds_and_little_memory(classes: int, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(classes), str(count)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["seconds"] < 20
    assert told["megabytes"] < 700
    assert told["characters"] < 300_000
    assert len(told["pairs"]) == 20
    counts = [int(images) for _, _, images, _ in told["pairs"]]
    assert counts == sorted(counts, reverse=True)
