"""The intervals hold the truth as often as docs/statistics.md says; predictions whose truth is known."""

from __future__ import annotations

import pytest

from benchmarks.coverage import DESIGNS, PARTS, Design, Part, rows_of


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_the_metrics_of_a_confusion_matrix_at_small_sizes(design: Design) -> None:
    """The part that takes seconds, at the sizes where a bootstrap covers 50 to 63%."""
    rows = rows_of(PARTS[0]._replace(sizes=(2, 3, 5, 10)), design, repeats=400)
    assert {row.metric for row in rows} > {"recall of one class", "bacc", "mcc", "kappa_unweighted", "f1"}
    assert [row for row in rows if not row.good] == []


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_interval_that_is_shown_holds_what_it_says(part: Part, design: Design) -> None:
    rows = rows_of(part, design)
    assert rows
    assert [row for row in rows if not row.good] == []
