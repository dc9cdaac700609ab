"""LMD as the authors' repository behaves (peterlipan/LMD, 0d632d3), its slips included.

A preset of `lmd` (methods.md 1.3 and 1.7): cross entropy on the strong view, consistency from the 22nd
epoch, gradients of the relation terms divided by the number of processes, a label term without a
gradient, the sign of FDC reversed, virtual features from un-smoothed statistics, BatchNorm re-estimated
by the E-step.
"""

from __future__ import annotations

from typing import Any

from lmd.methods.lmd import BUDGETS, PAPER, Settings, stages

__all__ = ["BUDGETS", "PAPER", "PRESET", "STATUS", "Settings", "stages"]

STATUS = "preset of lmd"

PRESET: dict[str, Any] = {
    "bn_recalibrate": False,
    "select": "last",
    "stage1": {
        "channel_div": "N",
        "legacy_gather_scale": True,
        "ce_view": "strong",
        "consistency_start": 21.0,
    },
    "stage2": {
        "estep_label": "detached_legacy",
        "fdc_sign": "code",
        "estep_bn": "train",
        "sample_from": "current",
        "final_m_step": False,
    },
}
