"""Makes the folder that `benchmarks/gpu.sh` takes to a GPU machine: images, weights, wheels.

    python -m benchmarks.gpu_pack --images isic2019 --weights resnet18.safetensors --python 3.12 --out folder

The images are those of ISIC 2019 whose files are there, as they are, or smaller with `--height`. The wheels
are of packages that a machine with torch, timm and torchvision may lack; pip downloads them. A machine that
gets the folder needs no network.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.drawn import IMAGES, real_images
from benchmarks.gpu.data import WEIGHTS, WHEELS, Case, write

MOST = 55_000_000  # Bytes of the whole folder.
PURE = ("pydantic", "annotated-types", "typing-inspection", "lightning-fabric", "imagehash",
        "pytest", "pluggy", "iniconfig")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Makes the folder; returns 1 where it is larger than it may be."""
    options = _parse(arguments)
    if options.out.exists():
        shutil.rmtree(options.out)
    number = write(_cases(options), options.out)
    shutil.copy(options.weights, options.out / WEIGHTS)
    if options.wheels is not None:
        shutil.copytree(options.wheels, options.out / WHEELS)
    else:
        for python in options.python:
            download(python, options.out / WHEELS)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {number:,} images, {size:,} bytes")
    if size > MOST:
        print(f"more than {MOST:,} bytes: take a smaller --height, or one --python", file=sys.stderr)
    return int(size > MOST)


def _parse(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="the folder with the tables of ISIC 2019")
    parser.add_argument("--weights", type=Path, required=True, help="a safetensors file for ResNet-18")
    parser.add_argument("--height", type=int, help="rows of the images, written anew as JPEG")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files, with --height")
    parser.add_argument("--python", action="append", help="3.11, 3.12 or 3.13; may be repeated")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels, instead of downloading them")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.python = options.python or ["3.12"]
    return options


def _cases(options: Any) -> Iterator[Case]:
    for row in real_images(options.images).itertuples():
        path = options.images / IMAGES / str(row.file)
        content = (
            path.read_bytes() if options.height is None else smaller(path, options.height, options.quality)
        )
        yield Case(str(row.file), str(row.label), str(row.lesion), content)


def smaller(path: Path, height: int, quality: int) -> bytes:
    """Returns an image with so many rows and its own shape, as JPEG."""
    with Image.open(path) as image:
        width = round(image.width * height / image.height)
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    small.save(made, "JPEG", quality=quality, optimize=True)
    return made.getvalue()


def download(python: str, to: Path) -> None:
    """Downloads the wheels for a version of Python on Linux."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    pip += ["--only-binary=:all:", "--python-version", python, "--dest", str(to)]
    subprocess.run([*pip, *PURE], check=True)
    core = f"pydantic-core=={core_of(next(to.glob('pydantic-*.whl')))}"
    subprocess.run([*pip, "--platform", "manylinux2014_x86_64", core], check=True)


def core_of(wheel: Path) -> str:
    """Returns the version of pydantic-core that a wheel of pydantic asks for."""
    import re
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        found = re.search(r"pydantic-core==([\w.]+)", archive.read(name).decode())
    assert found is not None, f"{wheel} names no pydantic-core"
    return found[1]


if __name__ == "__main__":
    sys.exit(main())
