"""Asks a public list of advisories (OSV) about the pinned versions of constraints.txt; part of `make check`.

A known weakness is told and ends it with exit code 1. Where no list can be reached, one line says that the
audit was skipped, and the exit code is 0: a machine without a network must be able to check itself. Only the
names and versions of constraints.txt are sent.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
ANSWER, ALL = 3, 120  # Seconds that one answer may take, and all of them.
SKIPPED = "dependency audit skipped:"


def main() -> int:
    """Prints what is known against the pinned versions, and returns the exit code."""
    if importlib.util.find_spec("pip_audit") is None:
        print(f"{SKIPPED} pip-audit is not installed")
        return 0
    words = [
        sys.executable, "-m", "pip_audit", "-r", str(PINS), "--no-deps", "--disable-pip", "-s", "osv",
        "--timeout", str(ANSWER), "--progress-spinner", "off", "-f", "json",
    ]  # fmt: skip
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=ALL).stdout
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"{SKIPPED} the list of advisories took more than {ALL} seconds")
        return 0
    except (ValueError, KeyError):  # It has printed no result: the list cannot be reached.
        print(f"{SKIPPED} no list of advisories answered within {ANSWER} seconds")
        return 0
    return told(packages)


def told(packages: list[dict[str, Any]]) -> int:
    """Prints what was found, and returns the exit code."""
    known = [(one, advisory) for one in packages for advisory in one.get("vulns", [])]
    for one, advisory in known:
        better = ", ".join(advisory.get("fix_versions") or []) or "none"
        print(f"{one['name']} {one['version']}: {advisory['id']}; mended in {better}")
    if not known:
        print(f"dependency audit: nothing is known against {len(packages)} pinned packages")
    return int(bool(known))


if __name__ == "__main__":
    sys.exit(main())
