"""Where a run is trained: recorded when it begins, and compared when it goes on."""

from __future__ import annotations

import json
import logging
from typing import cast

from lmd.files import atomic_write
from lmd.reading import UnreadableError, json_of, text_of
from lmd.run import RunFolder
from lmd.runtime import Runtime, environment
from lmd.settings import Tree

_log = logging.getLogger(__name__)

# What the bits of a result depend on, besides data, settings and code of the method.
_NAMES = ("gpu", "precision", "threads", "cpu", "processes")
_BEFORE: Tree = {"processes": 1}  # Of runs whose record does not say.
_PACKAGES = ("lmd", "torch")
_RESUMED = "resumed"  # The surroundings of each later part of a run, where they were others.


def write(folder: RunFolder, runtime: Runtime) -> None:
    """Writes environment.json: versions and hardware."""
    _write(folder, _now(runtime))


def compare(folder: RunFolder, runtime: Runtime) -> None:
    """Says in one line in what an interrupted run now goes on otherwise than before, and records it."""
    recorded, now = _read(folder), _now(runtime)
    if recorded is None:
        _log.warning("%s cannot be read: where the run began is not known", folder.environment)
        return
    later = recorded.get(_RESUMED, [])
    changes = _changes(later[-1] if later else recorded, now)
    if changes:
        _log.warning(
            "%s goes on with %s: its result will not be, bit for bit, that of a run that nothing stopped",
            folder.path,
            ", ".join(changes),
        )
        _write(folder, {**recorded, _RESUMED: [*later, now]})


def _now(runtime: Runtime) -> Tree:
    return {**environment(), "precision": runtime.precision, "processes": runtime.world}


def _write(folder: RunFolder, tree: Tree) -> None:
    atomic_write(folder.environment, json.dumps(tree, indent=2) + "\n")


def _read(folder: RunFolder) -> Tree | None:
    """What was recorded; None where it is damaged."""
    try:
        tree = json_of(text_of(folder.environment))
    except (OSError, UnreadableError):
        return None
    parts = [tree, *(tree.get(_RESUMED, []) if isinstance(tree, dict) else [])]
    sound = all(isinstance(part, dict) and isinstance(part.get("packages"), dict) for part in parts)
    return cast("Tree", tree) if sound else None


def _changes(before: Tree, now: Tree) -> list[str]:
    pairs = [(name, before.get(name, _BEFORE.get(name)), now[name]) for name in _NAMES]
    pairs += [(name, before["packages"].get(name), now["packages"][name]) for name in _PACKAGES]
    return [f"{name} {_told(new)} in place of {_told(old)}" for name, old, new in pairs if old != new]


def _told(value: object) -> str:
    return "none" if value is None else str(value)
