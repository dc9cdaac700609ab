"""LMD and the paper's four ablations of it as rows: the one place that says which settings make them.

Without ICC, RRL and the class-balanced training of a new classifier are left: the method `rrl-crt`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmd.experiments.base import Row

if TYPE_CHECKING:
    from lmd.settings import Tree


def _without(part: str, method: str, settings: Tree) -> Row:
    title = f"LMD w/o {part}"
    return Row(f"lmd-no-{part.lower()}", title, method, settings, kind="ablation", printed=title)


NO_RRL = _without("RRL", "lmd", {"without": "rrl"})
NO_ICC = _without("ICC", "rrl-crt", dict[str, Any]())
NO_VFC = _without("VFC", "lmd", {"without": "vfc"})
NO_FDC = _without("FDC", "lmd", {"without": "fdc"})
LMD = Row("lmd", "LMD", "lmd", reference=True, printed="LMD")
