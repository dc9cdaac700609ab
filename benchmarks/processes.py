"""One training on several processes: the same numbers, kills survived, two machines, and the speed.

    python -m benchmarks.processes losses --out work/losses.json     # every method on 1, 2 and 4 processes
    python -m benchmarks.processes kills --number 30                 # of two processes, resumed on 1, 2 or 4
    python -m benchmarks.processes agents                            # two agents of torchrun as two machines
    python -m benchmarks.processes speed                             # images a second

Everything goes through the command, on phantoms with a tiny network (`speed`: ResNet-18 at 64 pixels). In
`losses` all is in double precision (benchmarks/doubled.py): what is left of a difference is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IMAGES = ["--images", "150", "--val-per-class", "5", "--test-per-class", "5"]
COMMON = ["--seed", "7", "--set", "pretrained=false", "--set", "precision=fp32"]
TINY = [*COMMON, "--budget", "smoke", "--set", "encoder=test_resnet"]
# Batches of 27 and 28 images, which neither 2 nor 4 processes divide evenly.
RAGGED = ["--set", "batch=29", "--set", "last_batch=even"]
KILLED = [*TINY, *RAGGED, "--method", "seesaw", "--set", "stage1.epochs=12"]
_ALLOWED = 30.0  # Seconds for all processes to end once one was killed.


def main() -> None:
    """Runs one of the four parts and prints its table, or writes it as JSON."""
    parser = argparse.ArgumentParser(description="one training on several processes")
    parser.add_argument("part", choices=["losses", "kills", "agents", "speed", "worker"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--number", type=int, default=30)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.part == "worker":
        return worker(options.data, options.out, options.only)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        more = ["--images", "600"] if options.part == "speed" else IMAGES
        run("prepare", "phantom", "--out", str(data), *more)
        parts = {"losses": losses, "kills": kills, "agents": agents, "speed": speed}
        found = parts[options.part](Path(folder), data, options)
    text = json.dumps(found, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the command `lmd`, on one thread where nothing else is said."""
    return subprocess.run([sys.executable, "-m", "lmd", *words], env=environment(**variables), check=True)


def environment(**variables: str) -> dict[str, str]:
    """Returns the variables of a process that computes on one thread where nothing else is said."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "LMD_CHECKPOINT_SECONDS": "0", **variables}


def placed(rank: int, world: int, port: int) -> dict[str, str]:
    """Returns what torchrun tells a process."""
    place = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_PORT": port}
    return {**{name: str(value) for name, value in place.items()}, "MASTER_ADDR": "127.0.0.1"}


def free_port() -> int:
    """Returns a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def worker(data: Path, out: Path, only: list[str] | None) -> None:
    """Trains every method, as one of the processes that the environment tells of, in double precision."""
    import torch
    import yaml

    from benchmarks.doubled import doubled
    from lmd import methods
    from lmd.data.dataset.manifest import read_dataset
    from lmd.settings import merge
    from lmd.training import loop, start
    from tests import toy

    usual = loop.new_network

    def double(*arguments: Any, **named: Any) -> Any:
        network = usual(*arguments, **named).double()
        network.encoder.register_forward_pre_hook(lambda module, given: (given[0].double(),))
        return network

    loop.new_network = double
    torch.set_num_threads(1)
    for name in only or methods.names():
        recipe = merge(toy.recipe(name), yaml.safe_load("{batch: 29, last_batch: even, select: last}"))
        with doubled():
            start.train(read_dataset(data), name, methods.settings_of(name, recipe=recipe), out / name)


def losses(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the largest relative difference of any loss or validation number to those of one process."""
    runs: dict[int, Path] = {}
    for world in (1, 2, 4):
        runs[world], port = folder / f"on{world}", free_port()
        words = [sys.executable, "-m", "benchmarks.processes", "worker", "--data", str(data)]
        words += ["--out", str(runs[world]), *(["--only", *options.only] if options.only else [])]
        started = [
            subprocess.Popen(words, env=environment(**(placed(rank, world, port) if world > 1 else {})))
            for rank in range(world)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            raise SystemExit(f"a training on {world} processes has failed")
    names = sorted(path.name for path in runs[1].iterdir())
    return {
        name: {str(world): difference(runs[1] / name, runs[world] / name) for world in (2, 4)}
        for name in names
    }


def records(run_folder: Path) -> list[dict[str, Any]]:
    """Returns the numbers of each epoch."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [{**one["losses"], **one["validation"]} for one in map(json.loads, lines)]


def difference(one: Path, other: Path) -> dict[str, Any]:
    """Returns the largest relative difference of a number, and whether the decisions on validation agree."""
    first, second = records(one), records(other)
    pairs = [
        (a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a if a[name] is not None
    ]
    score = [[record.get("bacc") for record in which] for which in (first, second)]
    return {
        "largest": max(abs(a - b) / max(abs(a), 1e-6) for a, b in pairs),
        "same balanced accuracy": score[0] == score[1],
    }


def kills(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kills one of two processes at some moment and goes on with 1, 2 or 4, until the run is finished."""
    draw = random.Random(18)
    run("train", str(data), *KILLED, "--out", str(folder / "whole"))
    expected = records(folder / "whole")
    differences: list[float] = []
    ends: list[float] = []
    for number in range(options.number):
        out = folder / f"killed{number}"
        who, epochs = draw.randrange(3), draw.randrange(len(expected) - 1)
        ends.append(killed(data, out, who, epochs, draw.uniform(0, 1)))
        several = ["--devices", str(world)] if (world := (1, 2, 4)[number % 3]) > 1 else []
        run("train", str(data), *KILLED, *several, "--resume", "--out", str(out))
        found = records(out)
        last = [abs(a["total"] - b["total"]) / a["total"] for a, b in zip(expected, found, strict=True)]
        differences.append(max(last))
        print(number, round(ends[-1], 1), max(last), file=sys.stderr, flush=True)
        shutil.rmtree(out)
    return {
        "kills": len(ends),
        "seconds until all had ended, at most": round(max(ends), 1),
        "resumed to the end": len(differences),
        "largest relative difference of a loss": max(differences),
    }


def killed(data: Path, out: Path, who: int, epochs: int, more: float) -> float:
    """Kills the launcher (2) or a process (0, 1) of a training; returns the seconds until all had ended.

    It does so when so many epochs are recorded, and `more` seconds have gone by: a moment by the clock alone
    may be after the end of a training.
    """
    words = [sys.executable, "-m", "lmd", "train", str(data), *KILLED, "--devices", "2", "--out", str(out)]
    with subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL) as process:
        while not recorded(out, epochs) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(more)
        assert process.poll() is None, "the training was over before it could be killed"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        victim = process.pid if who == 2 or len(children) < 2 else int(children[who])
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        process.wait()
        while any(alive(int(child)) for child in children) and time.monotonic() < begun + _ALLOWED:
            time.sleep(0.05)
        return time.monotonic() - begun


def recorded(out: Path, epochs: int) -> bool:
    """Returns whether so many epochs of a run are recorded; 0: whether it has begun."""
    metrics = out / "metrics.jsonl"
    return (out / "settings.yaml").exists() and (
        epochs == 0 or (metrics.exists() and len(metrics.read_text().splitlines()) >= epochs)
    )


def alive(process: int) -> bool:
    """Returns whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def agents(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Trains with two agents of torchrun, two processes each, as on two machines."""
    whole, out, port = folder / "whole", folder / "agents", free_port()
    train = ["train", str(data), *TINY, *RAGGED, "--method", "lmd", "--out"]
    run(*train, str(whole))
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "2"]
    words += ["--rdzv-backend", "c10d", "--rdzv-id", "lmd", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    started = [subprocess.Popen([*words, "-m", "lmd", *train, str(out)], env=environment()) for _ in range(2)]
    codes: Sequence[int] = [process.wait() for process in started]
    alone, together = (records(path)[0]["total"] for path in (whole, out))
    return {
        "exit codes": codes,
        "relative difference of the first epoch": abs(alone - together) / alone,
        "finished": (out / "model" / "model.json").is_file(),
    }


def speed(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns images a second of the second epoch: one process with two threads, and two with one."""
    words = ["train", str(data), *COMMON, "--budget", "smoke", "--set", "stage1.epochs=3"]
    words += ["--set", "size=64", "--set", "encoder=resnet18", "--set", "batch=128"]
    found: dict[str, Any] = {}
    for method in ("ce", "lmd"):
        for name, more, threads in (
            ("1 x 1", [], "1"),
            ("1 x 2", [], "2"),
            ("2 x 1", ["--devices", "2"], "1"),
        ):
            out = folder / f"{method}{name}"
            run(*words, "--method", method, *more, "--out", str(out), OMP_NUM_THREADS=threads)
            lines = (out / "metrics.jsonl").read_text().splitlines()
            first = [json.loads(line) for line in lines if json.loads(line)["stage"] == "stage1"]
            found[f"{method}, {name}"] = min(record["seconds"] for record in first[1:])
    return found


if __name__ == "__main__":
    main()
