"""How an extra is installed: the command that fits how lmd itself was."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote

from lmd.reading import json_of

_NAME = "lmd"  # As pip knows it.


def how_to_install(extra: str) -> str:
    """Returns how to install an extra for this program, in the form that works for how lmd was installed.

    lmd is on no package index. Where nothing else is known, its own version is asked for: pip then finds the
    one that is installed, and looks only for what the extra adds.

    >>> "-m pip install " in how_to_install("dicom")
    True
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    of_clone, origin, version = _installed()
    if of_clone:
        return f"in the folder of the clone run {pip} -e '.[{extra}]'"
    if origin is not None:
        return f"run {pip} {shlex.quote(f'{origin}[{extra}]')}"
    return f"run {pip} '{_NAME}[{extra}]=={version}'"


def _installed() -> tuple[bool, Path | None, str]:
    """Whether lmd runs from a clone, the wheel or folder that it was installed from, and its version."""
    try:
        found = distribution(_NAME)
    except PackageNotFoundError:  # Its folder is on the path of Python, and nothing more.
        return True, None, ""
    try:  # PEP 610: what pip was told to install; nothing where it took lmd from a folder of wheels.
        said = json_of(found.read_text("direct_url.json") or "{}")
        return bool(said.get("dir_info", {}).get("editable")), _path_of(said.get("url", "")), found.version
    except (ValueError, AttributeError, OSError):
        return False, None, found.version


def _path_of(url: str) -> Path | None:
    """The file or folder that an address names; None where it is not on this machine."""
    path = Path(unquote(url.removeprefix("file://")))
    return path if url.startswith("file:") and path.exists() else None
