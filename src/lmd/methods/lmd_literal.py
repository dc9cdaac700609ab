"""LMD as printed: raw Gram matrices, KL(student, teacher), Sigma itself in eq. 10-11.

A preset of `lmd` that takes arXiv 2502.03238 at its letter (methods.md 1.7). The raw Gram terms are of
the order of 1,000 and swamp the cross entropy at lambda_1 = 10; it is here for comparison.
"""

from __future__ import annotations

from typing import Any

from lmd.methods.lmd import BUDGETS, PAPER, Settings, stages

__all__ = ["BUDGETS", "PAPER", "PRESET", "STATUS", "Settings", "stages"]

STATUS = "preset of lmd"

PRESET: dict[str, Any] = {
    "bn_recalibrate": False,
    "select": "last",
    "stage1": {"gram_norm": "none", "kl": "student_teacher", "ce_view": "weak"},
    "stage2": {
        "fdc_metric": "covariance_literal",
        # Paper: no regulariser. Here: the smallest that lets a class with N_k < C be factorised.
        "ridge": 1e-6,
        "final_m_step": False,
    },
}
