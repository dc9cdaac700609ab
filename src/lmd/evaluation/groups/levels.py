"""Evaluations at other levels than all images: groups, and subgroups of a metadata column; typed values."""

from __future__ import annotations

from lmd.evaluation.parts import BandResult, ClassResult, Metrics, Reasons
from lmd.settings import Settings


class GroupsResult(Settings):
    """Every metric with one answer for each group (patient, lesion) in place of each image."""

    n: int
    """groups that are measured"""
    images: int
    """images of these groups"""
    several: int
    """groups that are left out, because their images have several labels"""
    how: str
    """how the answers of a group's images become one"""
    metrics: Metrics
    bands: dict[str, BandResult]
    classes: list[ClassResult]
    confusion: list[list[int]]
    reasons: Reasons


class Cell(Settings):
    """The images with one value of a column, or with a number in one bin."""

    value: str | None
    """None where the column is empty"""
    n: int
    groups: int
    metrics: Metrics
    classes: list[ClassResult]
    reasons: Reasons
    warning: str | None
    """why to distrust these numbers"""


class ColumnResult(Settings):
    """A metadata column and its cells."""

    column: str
    width: float | None
    """of the bins of a column of numbers"""
    cells: list[Cell]
