"""A server under load: 1,000 requests of 32 clients with bad ones among them, its memory, kills and limits.

    python -m benchmarks.served RUN --images FOLDER --out served.json

The server is a process of its own, as `lmd serve RUN` starts it. What it answers is compared with bare
inference in this process: decode a file, and one pass of the network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fuzzed import fuzzed

BAD = (b"no image at all", b"", b"\xff\xd8\xff" + bytes(2000), b"%PDF-1.4")


class Server:
    """A server of a run, in a process of its own, and its largest memory."""

    def __init__(self, run: Path, *options: str) -> None:
        """Starts it and waits until it answers."""
        self.temporary = tempfile.TemporaryDirectory()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": self.temporary.name}
        command = [sys.executable, "-m", "lmd", "serve", str(run), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.address = next(word for word in line.split() if word.startswith("http://"))

    def memory(self, name: str = "VmRSS") -> int:
        """Returns its memory now, or with "VmHWM" the largest so far, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal and returns its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def served(run: Path, *options: str) -> Iterator[Server]:
    """A server that runs for a while."""
    server = Server(run, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()


def ask(client: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    """Sends one image."""
    return client.post("/api/predict", files={"files": ("x", data)}, data=fields)


def load(address: str, images: list[bytes], requests: int, clients: int, bad: float) -> dict[str, Any]:
    """Sends requests of several clients, each as soon as its last is answered; some of them are bad."""
    every = round(1 / bad)
    seconds: list[float] = []
    found: dict[str, Counter[int]] = {"good": Counter(), "bad": Counter()}
    lock, numbers = threading.Lock(), iter(range(requests))

    def work() -> None:
        with httpx.Client(base_url=address, timeout=120) as client:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                wrong = number % every == every - 1
                data = BAD[number // every % len(BAD)] if wrong else images[number % len(images)]
                begun = time.perf_counter()
                status = ask(client, data).status_code
                with lock:
                    found["bad" if wrong else "good"][status] += 1
                    seconds.extend([] if wrong else [time.perf_counter() - begun])

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for one in [pool.submit(work) for _ in range(clients)]:
            one.result()
    whole = time.perf_counter() - begun
    statuses = {kind: dict(counts) for kind, counts in found.items()}
    return {**statuses, **times(seconds), "clients": clients, "images_per_s": round(len(seconds) / whole, 1)}


def times(seconds: list[float]) -> dict[str, float]:
    """Returns the median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"p50_ms": round(1000 * statistics.median(ordered), 1), "p99_ms": round(1000 * high, 1)}


def bare(run: Path, files: list[Path]) -> dict[str, Any]:
    """Returns the times of bare inference: a file is decoded, and answered alone by the network at rest."""
    import numpy as np
    import torch

    from lmd.api.runs import load as load_run
    from lmd.data.decode.images import decode_small
    from lmd.evaluation.outputs import output_of

    model = load_run(run)
    made, network = model.card.preprocessing, model.at_rest
    both: list[float] = []
    passes: list[float] = []
    for file in files:
        begun = time.perf_counter()
        pixels = torch.from_numpy(np.array(decode_small(file, made.size, made.crop, None, made.bits)))[None]
        between = time.perf_counter()
        output_of(network, pixels, model)
        passes.append(time.perf_counter() - between)
        both.append(time.perf_counter() - begun)
    return {"decode_and_pass": times(both[5:]), "pass_alone": times(passes[5:])}


def ended(run: Path, images: list[bytes]) -> dict[str, Any]:
    """Ends servers while they answer: in order by SIGTERM, and at once by SIGKILL; then one starts anew."""
    found: dict[str, Any] = {}
    for name, number in (("SIGTERM", signal.SIGTERM), ("SIGKILL", signal.SIGKILL)):
        with served(run, "--nearest", "off") as server, ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(_outcome, server.address, images[k % len(images)]) for k in range(64)]
            time.sleep(0.4)
            server.process.send_signal(number)
            outcomes = Counter(one.result() for one in asked)
            code, left = server.process.wait(120), list(Path(server.temporary.name).iterdir())
        found[name] = {"exit_code": code, "outcomes": dict(outcomes), "files_left": len(left)}
    with served(run, "--nearest", "off") as server:
        found["anew"] = _outcome(server.address, images[0])
    return found


def _outcome(address: str, data: bytes) -> str:
    """How a request ended: its status, or the kind of an error of the connection."""
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            return str(ask(client, data).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__


def limits(run: Path, image: bytes) -> dict[str, int]:
    """Returns the status where each limit of a server is passed."""
    found: dict[str, int] = {}
    options = (
        "--max-mb",
        "1",
        "--max-files",
        "2",
        "--max-megapixels",
        "1",
        "--queue",
        "2",
        "--nearest",
        "off",
    )
    with served(run, *options) as server, httpx.Client(base_url=server.address, timeout=60) as client:
        found["bytes"] = ask(client, bytes(1_200_000)).status_code
        found["files"] = client.post("/api/predict", files=[("files", ("x", image))] * 3).status_code
        found["pixels"] = ask(client, _large()).status_code
        with ThreadPoolExecutor(24) as pool:
            asked = [pool.submit(_outcome, server.address, image) for _ in range(200)]
            many = Counter(one.result() for one in asked)
        found |= {f"queue of 2, 24 clients: {status}": count for status, count in sorted(many.items())}
    return found


def _large() -> bytes:
    """A PNG of 4 million pixels in few bytes."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (2000, 2000)).save(buffer, format="PNG")
    return buffer.getvalue()


def measured(run: Path, files: list[Path], rounds: int, clients: int, cases: int) -> dict[str, Any]:
    """Returns all that is measured, one thing after another."""
    images = [file.read_bytes() for file in files]
    found: dict[str, Any] = {"machine": machine(), "images": len(images), "bare": bare(run, files)}
    tell("bare", found["bare"])
    with served(run) as server:
        with httpx.Client(base_url=server.address, timeout=120) as client:
            while "nearest of" not in client.get("/api/model").json()["nearest"]:
                time.sleep(1)
        memory: dict[str, Any] = {"at_rest_mb": round(server.memory() / 1e6)}
        found["one_client"] = load(server.address, images, 200, 1, 0.05)
        tell("one client", found["one_client"])
        found["rounds"] = []
        for number in range(rounds):
            one = load(server.address, images, 1000, clients, 0.05)
            one |= {"rss_mb": round(server.memory() / 1e6), "peak_mb": round(server.memory("VmHWM") / 1e6)}
            found["rounds"].append(one)
            tell(f"round {number + 1}", one)
        found["memory"] = memory
    found["ended"] = ended(run, images)
    tell("ended", found["ended"])
    found["limits"] = limits(run, images[0])
    tell("limits", found["limits"])
    if cases:
        with served(run, "--nearest", "off") as server:
            statuses = fuzzed(server.address, cases)
            counts = {"cases": statuses.total(), "statuses": dict(statuses)}
            found["fuzzed"] = {**counts, "exit_code": server.end()}
        tell("fuzzed", found["fuzzed"])
    found["load_at_end"] = os.getloadavg()
    return found


def tell(name: str, found: Any) -> None:
    """Prints what was measured as soon as it is known."""
    print(name, json.dumps(found), flush=True)


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    from importlib.metadata import version

    packages = ("torch", "fastapi", "uvicorn", "starlette", "schemathesis")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg(),
        "omp_threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {name: version(name) for name in packages},
    }


def main() -> None:
    """Measures and writes what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--images", type=Path, required=True, help="a folder of images")
    parser.add_argument("--count", type=int, default=200, help="how many of them")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of 1,000 requests")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument(
        "--cases", type=int, default=2600, help="cases of schemathesis for each route and kind"
    )
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    asked = parser.parse_args()
    from lmd.data.decode.files import list_images

    files = list_images(asked.images)[: asked.count]
    found = {"note": asked.note, **measured(asked.run, files, asked.rounds, asked.clients, asked.cases)}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
