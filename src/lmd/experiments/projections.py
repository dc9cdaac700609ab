"""Figures 4 and 5 of arXiv 2502.03238: t-SNE of the features of three methods."""

from __future__ import annotations

from dataclasses import replace

from lmd.experiments.ablations import LMD, NO_VFC
from lmd.experiments.base import Contrast, Experiment, Metric, Row, in_every_budget
from lmd.experiments.blocks import ISIC_ARCHIVE_LT
from lmd.experiments.tables import BANDS

_ROWS = in_every_budget(Row("decoupling", "Decoupling", "decoupling"), NO_VFC, LMD)
_METRICS = (Metric("silhouette", "silhouette"), *BANDS)
_CONTRASTS = (
    Contrast("LMD against Decoupling", "lmd", "decoupling"),
    Contrast("LMD with its virtual features against without", "lmd", NO_VFC.key),
)
_NOTES = (
    "Features of the test images, before the classifier; the picture is of the first seed. t-SNE distorts "
    "distances: read the silhouette, which is taken on the features themselves (x 100; 100 is far apart, 0 "
    "is mixed), over the images shown.",
)

FIG4 = Experiment(
    name="fig4",
    rows_of=_ROWS,
    metrics=_METRICS,
    blocks=ISIC_ARCHIVE_LT,
    contrasts=_CONTRASTS,
    points="largest",
    notes=_NOTES,
)

FIG5 = replace(FIG4, name="fig5", points="tail")
