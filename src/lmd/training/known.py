"""What is known against a training from its beginning, and has to stand in its model card."""

from __future__ import annotations

from lmd.data.audit.persons import grouping_of, unknown_persons
from lmd.data.dataset.manifest import Dataset
from lmd.planning import plan_of_run
from lmd.settings import CommonSettings


def known_weaknesses(dataset: Dataset, method: str, settings: CommonSettings, taken_over: bool) -> list[str]:
    """Returns, in a line each, that patients are not known, and that there are too few gradient steps.

    `taken_over` is true where the first stage is that of another run, whose steps do not count here.
    """
    warning = plan_of_run(dataset, method, settings, taken_over).outline.warning
    return [*unknown_persons(grouping_of(dataset)), *([warning.partition(";")[0]] if warning else [])]
