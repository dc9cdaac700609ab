"""Says under which licences the installed packages are that lmd needs, and which of them are copyleft.

    python packaging/licences.py            # a summary, and all that is not permissive
    python packaging/licences.py --all      # every package with its licence, as a table in Markdown

What is counted is what lmd and its extras need, without the extras `dev` and `docs`. Licences are those that
the packages state of themselves; nobody has read their files.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LEFT_OUT = ("dev", "docs")
# In this order: the first that fits is the kind. Permissive words come last, as "MIT OR GPL" is a choice.
KINDS = (
    ("NVIDIA's own", r"NVIDIA|LicenseRef-.*NVIDIA"),
    ("copyleft", r"\bA?GPL|GNU (Affero )?General Public"),
    ("weak copyleft", r"\bL-?GPL|Lesser General|\bMPL|Mozilla|\bEPL|\bCDDL"),
    ("permissive", r"MIT|BSD|Apache|ISC|PSF|Python Software|HPND|Unlicense|Zlib|CC0|0BSD|public domain|CNRI"),
)


class Found(NamedTuple):
    """A package, its licence as it states it, and the kind of that licence."""

    name: str
    version: str
    licence: str
    kind: str


def main() -> None:
    """Prints the summary, or the whole table."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--all", action="store_true")
    packages = found()
    if parser.parse_args().all:
        print("| Package | Version | Licence | Kind |\n|---|---|---|---|")
        print("\n".join(f"| {one.name} | {one.version} | {one.licence} | {one.kind} |" for one in packages))
        return
    counts = Counter(one.kind for one in packages)
    print(
        f"{len(packages)} packages: " + ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
    )
    for one in packages:
        if one.kind != "permissive":
            print(f"{one.kind}: {one.name} {one.version} ({one.licence})")


def found() -> list[Found]:
    """Returns all packages that lmd and its extras need, of those that are installed."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = [
        *project["dependencies"],
        *(text for name in extras if name not in LEFT_OUT for text in extras[name]),
    ]
    seen: set[str] = set()
    for text in own:
        add_needed(Requirement(text), seen)
    names = sorted({one.partition("[")[0] for one in seen})
    return [described(distribution(name)) for name in names]


def described(package: Distribution) -> Found:
    """Returns what is to be said of a package."""
    licence = licence_of(package)
    return Found(canonicalize_name(package.name), package.version, licence, kind_of(licence))


def add_needed(asked: Requirement, seen: set[str]) -> None:
    """Adds a package that is installed, and all that it needs here."""
    key = canonicalize_name(asked.name)
    fresh = f"{key}[{','.join(sorted(asked.extras))}]"
    if fresh in seen or not is_installed(key):
        return
    seen.add(fresh)
    for requirement in requirements(distribution(key), sorted(asked.extras)):
        add_needed(requirement, seen)


def requirements(package: Distribution, extras: Sequence[str]) -> Iterator[Requirement]:
    """Yields what a package asks for on this system with these extras."""
    for text in package.requires or []:
        asked = Requirement(text)
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield asked


def is_installed(name: str) -> bool:
    """Whether there is such a package here."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def licence_of(package: Distribution) -> str:
    """Returns what a package states: an expression, its classifiers, or the first words of a field."""
    stated = package.metadata.get("License-Expression")
    classified = [
        line.rpartition("::")[2].strip()
        for line in package.metadata.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    field = " ".join((package.metadata.get("License") or "").split())[:60]
    return stated or "; ".join(classified) or field or "not stated"


def kind_of(licence: str) -> str:
    """Returns the kind of a licence; a choice between two counts as the more permissive one.

    >>> [kind_of(text) for text in ("MIT", "MPL-2.0", "LGPL-3.0", "GPL-2.0 OR MIT", "own words")]
    ['permissive', 'weak copyleft', 'weak copyleft', 'permissive', 'not known']
    """
    kinds = [_kind(part) for part in re.split(r"\bOR\b", licence)]
    order = ["permissive", *(kind for kind, _ in reversed(KINDS) if kind != "permissive"), "not known"]
    return min(kinds, key=order.index)


def _kind(licence: str) -> str:
    lesser = re.search(KINDS[2][1], licence) is not None
    for kind, pattern in KINDS:
        if re.search(pattern, licence) and not (kind == "copyleft" and lesser):
            return kind
    return "not known"


if __name__ == "__main__":
    main()
