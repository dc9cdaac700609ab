"""What the data and the machine ask for: the budget "auto", and what is told before a training starts.

`facts` is what the rules look at. `rules` is the table of docs/budgets.md. `resolve` is the one way in which
the settings of a run come about, and `choice` is what a person asks for. `outline` says what a run will do,
`rehearsal` measures how long that takes here, `plan` puts both into words, and `clock` keeps the time left of
the whole run.
"""

from __future__ import annotations

from lmd.planning.plan import Plan, plan_of_run
from lmd.planning.resolve import settings_for

__all__ = ["Plan", "plan_of_run", "settings_for"]
