"""Parts of a report beyond the metrics: sets, abstention, unlikeness, groups and subgroups."""

from __future__ import annotations

from collections.abc import Sequence

from lmd.evaluation.groups.levels import ColumnResult, GroupsResult
from lmd.evaluation.groups.subgroups import SMALL_CELLS
from lmd.evaluation.results import Evaluation
from lmd.evaluation.selective.abstention import SelectiveResult
from lmd.evaluation.selective.sets import Covered, SetsResult
from lmd.evaluation.selective.unlikeness_result import USUAL, UnlikenessResult
from lmd.reporting.figures import BAND_COLOURS, GREY, Figure, drawing
from lmd.reporting.order import in_order
from lmd.reporting.page import METRICS, sentence
from lmd.reporting.tables import Cell, Part, Table, counted, decimal, number
from lmd.text import numbered

_TITLES = {
    "by_group": "By patient or lesion",
    "sets": "Prediction sets",
    "selective": "Leaving unsure images out",
    "unlikeness": "Images unlike anything seen",
}


def beyond_parts(result: Evaluation, counts: Sequence[int]) -> list[Part]:
    """Returns the parts that an evaluation has; what it lacks for a reason has the reason."""
    found: dict[str, Part] = {}
    if result.by_group is not None:
        found["by_group"] = _groups(result.by_group, counts)
    if result.sets is not None:
        found["sets"] = _sets(result.sets, counts)
    if result.selective is not None:
        found["selective"] = _selective(result.selective)
    if result.unlikeness is not None:
        found["unlikeness"] = _unlikeness(result.unlikeness, result.n)
    parts = [
        found.get(name) or Part(title, notes=[result.reasons[name]])
        for name, title in _TITLES.items()
        if name in found or name in result.reasons
    ]
    return [*parts, *map(_column, result.subgroups or [])]


def _groups(found: GroupsResult, counts: Sequence[int]) -> Part:
    shown = [name for name in METRICS if name in found.metrics]
    overall = [[Cell(METRICS[name]), number(found.metrics[name])] for name in shown]
    rows = [
        [Cell(entry.name), counted(entry.n), number(entry.recall)]
        for entry in in_order(found.classes, counts)
    ]
    line = (
        f"One answer for each of {numbered(found.n, 'group')} of {numbered(found.images, 'image')}: "
        f"{found.how}."
    )
    left = found.reasons.get("several labels")
    return Part(
        _TITLES["by_group"],
        [line],
        [Table(["metric", "value"], overall, "Metrics by group", sorts=False),
         Table(["class", "groups", "sensitivity (recall)"], rows, "Classes by group")],
        notes=[left] if left else [],
    )  # fmt: skip


def _sets(found: SetsResult, counts: Sequence[int]) -> Part:
    line = (
        "In place of one class, each image gets the set of classes that cannot be ruled out. The sets are "
        f"made to hold the true class of {100 * found.level:g} of 100 images of each class."
    )
    bands = {"all images": found.overall, **found.bands}
    overall = [[Cell(name), *_covered(entry)] for name, entry in bands.items()]
    rows = [
        [Cell(entry.name), *_covered(entry.covered), decimal(entry.threshold), counted(entry.calibration_n),
         Cell("its own" if entry.basis == "class" else "all" if entry.basis == "all" else "its band's")]
        for entry in in_order(found.classes, counts)
    ]  # fmt: skip
    head = ["n", "sets that hold the class", "mean size"]
    more = ["threshold", "validation images", "of"]
    tables = [
        Table(["images", *head], overall, "Sets by band", sorts=False),
        Table(["class", *head, *more], rows, "Sets by class"),
    ]
    allowed = dict.fromkeys(entry.note for entry in found.classes)
    notes = [f"{_names_with(found, note)}: {note}" for note in allowed]
    return Part(_TITLES["sets"], [line], tables, [_sizes(found)], [found.method, *notes, *found.notes])


def _names_with(found: SetsResult, note: str) -> str:
    return ", ".join(entry.name for entry in found.classes if entry.note == note)


def _covered(entry: Covered) -> list[Cell]:
    size = Cell("-") if entry.size is None else decimal(entry.size, 2)
    return [counted(entry.n), number(entry.coverage), size]


def _sizes(found: SetsResult) -> Figure:
    with drawing(4.2, 2.6) as picture:
        sizes = range(1, len(found.sizes) + 1)
        picture.axes.bar(sizes, found.sizes, color=BAND_COLOURS["head"])
        picture.axes.set(xlabel="classes in the set", ylabel="images")
        picture.axes.xaxis.get_major_locator().set_params(integer=True)
    one, every = found.sizes[0], sum(found.sizes)
    have = "has" if one == 1 else "have"
    caption = (
        f"{one} of {every} images {have} a set of one class. The further right, the less the model can say."
    )
    return Figure(picture.svg, "images by the size of their set", caption)


def _selective(found: SelectiveResult) -> Part:
    bands = list(found.table[0].bands) if found.table else []
    rows = [
        [Cell(f"{row.answered:.2f}", row.answered), counted(row.n), number(row.accuracy), number(row.bacc),
         *(_share(row.bands[band].answered) for band in bands)]
        for row in found.table
    ]  # fmt: skip
    head = ["answered", "n", "accuracy", "balanced accuracy", *(f"of {band}" for band in bands)]
    line = (
        f"If only the surest images are answered and a person sees the others. How sure: {found.confidence}."
    )
    table = Table(
        head, rows, "What the answers are worth when a share of the images is answered", sorts=False
    )
    area = (
        f"area under the curve {found.overall.aurc:.3f}; {found.overall.aurc_best:.3f} at best with so many "
        f"wrong answers, {found.overall.aurc_random:.3f} by chance"
    )
    without = [
        f"with {row.answered:.0%} answered, no image of {', '.join(row.without)} is"
        for row in found.table
        if row.without
    ]
    return Part(_TITLES["selective"], [line], [table], [_risk(found)], [*without, area])


def _share(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:.2f}", value)


def _risk(found: SelectiveResult) -> Figure:
    with drawing(4.4, 3.4) as picture:
        axes = picture.axes
        axes.plot(found.overall.coverage, found.overall.risk, color="#000000", label="all images")
        for band, curve in found.bands.items():
            if curve is not None:
                style = {"color": BAND_COLOURS.get(band, GREY), "linestyle": "--"}
                axes.plot(curve.coverage, curve.risk, label=band, **style)
        axes.set(xlabel="share of images answered", ylabel="share of wrong answers")
        axes.set(xlim=(0, 1.01), ylim=(0, None))
        axes.legend(fontsize=8, frameon=False)
    caption = (
        "The fewer images are answered (left), the fewer answers should be wrong. A curve that stays level "
        "is a band in which the model does not know when it is wrong."
    )
    return Figure(picture.svg, "risk against coverage", caption)


def _unlikeness(found: UnlikenessResult, n: int) -> Part:
    are = "is" if found.unlike_n == 1 else "are"
    line = (
        f"{found.unlike_n} of {n} images {are} more unlike what was seen than {USUAL:.0%} of the validation "
        f"images: {found.share} of all, where about {1 - USUAL:.2f} is to be expected of images of one kind."
    )
    rows = [
        [Cell("accuracy among these"), number(found.accuracy_unlike)],
        [Cell("accuracy among all others"), number(found.accuracy_usual)],
    ]
    classes = "; ".join(f"{name} {count}" for name, count in found.of_class.items())
    notes = [found.method, *([f"these images by class: {classes}"] if classes else [])]
    table = Table(["images", "value"], rows, "Are unlike images answered worse?", sorts=False)
    return Part(_TITLES["unlikeness"], [line], [table], notes=notes)


def _column(found: ColumnResult) -> Part:
    name = found.column if found.width is None else f"{found.column}, bins of {found.width:g}"
    rows = [
        [Cell("(empty)" if cell.value is None else cell.value), counted(cell.n), counted(cell.groups),
         number(cell.metrics["bacc"]), number(cell.metrics["auc"]), Cell(cell.warning or "")]
        for cell in found.cells
    ]  # fmt: skip
    head = [found.column, "n", "groups", "balanced accuracy", "macro AUC", "why to distrust it"]
    line = "Do all rows do alike? Intervals that overlap are no proof that they do."
    small = [f"{sentence(SMALL_CELLS)}."] if any(cell.warning for cell in found.cells) else []
    return Part(f"By {name}", [line, *small], [Table(head, rows, f"Metrics by {name}")])
