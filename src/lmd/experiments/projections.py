"""Figures 4 and 5 of arXiv 2502.03238: t-SNE of the features of three methods."""

from __future__ import annotations

from lmd.experiments.base import Contrast, Experiment, Metric, Row, Values, in_every_budget

_ROWS = in_every_budget(
    Row("decoupling", "Decoupling", "decoupling"),
    Row("lmd-no-vfc", "LMD w/o VFC", "lmd", {"vfc": False}, kind="ablation"),
    Row("lmd", "LMD", "lmd", reference=True),
)
_METRICS = (
    Metric("silhouette", "silhouette"),
    Metric("head", "BACC head"),
    Metric("medium", "BACC medium"),
    Metric("tail", "BACC tail"),
    Metric("bacc", "BACC overall"),
)
_VALUES = Values({}, "", "the figure is a picture and has no numbers")
_CONTRASTS = (
    Contrast("LMD against Decoupling", "lmd", "decoupling"),
    Contrast("LMD with its virtual features against without", "lmd", "lmd-no-vfc"),
)
_NOTES = (
    "Features of the test images, before the classifier; the picture is of the first seed. t-SNE distorts "
    "distances: read the silhouette, which is taken on the features themselves (x 100; 100 is far apart, 0 "
    "is mixed), over the images shown.",
)

FIG4 = Experiment(
    name="fig4",
    title="Figure 4: features of one class of the head, the medium classes and the tail",
    data="ISIC-Archive-LT, 14 classes",
    rows_of=_ROWS,
    metrics=_METRICS,
    values=_VALUES,
    contrasts=_CONTRASTS,
    points="largest",
    notes=(*_NOTES, "Of each group the class with most test images is shown."),
)

FIG5 = Experiment(
    name="fig5",
    title="Figure 5: features of the tail classes",
    data="ISIC-Archive-LT, 14 classes",
    rows_of=_ROWS,
    metrics=_METRICS,
    values=_VALUES,
    contrasts=_CONTRASTS,
    points="tail",
    notes=_NOTES,
)
