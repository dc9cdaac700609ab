"""What the data and the machine ask for: the budget "auto", and what is told before a training starts.

facts     what the rules look at: images, classes, pixels, device
rules     the table of docs/budgets.md: facts -> settings
resolve   the one way in which the settings of a run come about
outline   what a run will do, whatever its budget: stages, epochs, steps
rehearsal how long that takes here, measured on random pixels
clock     the time left of the whole run
"""

from __future__ import annotations

from lmd.planning.resolve import settings_for

__all__ = ["settings_for"]
