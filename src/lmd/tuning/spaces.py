"""What `lmd tune` searches, method by method, and why.

Every method has the learning rate and the weight decay of stage 1: they depend on data, encoder and length.
A learning rate is searched around the one at hand, ten times up and down: its size depends on the optimiser
and on the budget. A weight decay may be 0 at first, so that it has limits of its own.

Beyond that each method has what its paper says to tune, or what its own tables vary: one to three settings.
Kinds of a method (a variant, a form) are not searched: another kind is another method. Nor is the setting
`tau`: one rule for it holds for all methods of a search.
A method's file of one's own may have a `SPACE` of the same form.
"""

from __future__ import annotations

from lmd.methods import Method
from lmd.tuning.space import Around, Choice, Range, Space

_LR, _DECAY = "stage1.optimisation.lr", "stage1.optimisation.weight_decay"
SHARED: Space = {_LR: Around(10), _DECAY: Range(1e-6, 1e-2, log=True)}

_STAGE2: Space = {"stage2.optimisation.lr": Around(10)}  # A new classifier has a rate of its own.
# The weight of the consistency losses: 10 in the paper, 3 in our shorter schedules.
_RRL: Space = {"stage1.consistency_weight": Range(0.3, 30.0, log=True)}
# The M-step's rate goes with the number of virtual features; the ridge widens the clouds of rare classes.
_ICC: Space = {
    "m_step.optimisation.lr": Around(10),
    "statistics.ridge": Range(1e-3, 1.0, log=True),
}
OWN: dict[str, Space] = {
    "bal-mixup": {"stage1.alpha": Range(0.1, 1.0)},  # Its paper: .1 to .3.
    "cb-focal": {
        "stage1.gamma": Range(0.5, 3.0),
        "stage1.beta": Choice((0.99, 0.999, 0.9999)),
    },  # Its table 2.
    "cc-sam": {"stage1.radius": Around(10), **_STAGE2},
    "cicl": {"stage1.temperature": Range(0.05, 0.5, log=True), **_STAGE2},
    "decoupling": _STAGE2,
    "fcd": {"bound": Around(10), "stage2.distillation_weight": Range(0.1, 10.0, log=True), **_STAGE2},
    "focal": {"stage1.gamma": Range(0.5, 5.0)},  # Its table 1b.
    "fs": {"stage1.dropout": Range(0.05, 0.5)},
    "gcl": {"noise": Range(0.1, 1.0), **_STAGE2},
    "ldam-rs": {"stage1.max_margin": Range(0.1, 1.0), "stage1.scale": Range(10.0, 60.0, log=True)},
    "lmd": {**_RRL, **_ICC},
    "lmd-code": {**_RRL, **_ICC},
    "lmd-literal": {**_RRL, **_ICC},
    "lmd-plus": {**_RRL, "stage1.balance": Range(0.0, 1.5), "m_step.l2": Range(1e-3, 0.1, log=True)},
    "logit-adjustment": {"adjustment": Range(0.0, 2.0)},  # Its figure 3.
    "lort": {"stage2.smoothing": Range(0.8, 0.99), **_STAGE2},
    "rrl-crt": {**_RRL, **_STAGE2},
    "rrl-logit-adjustment": {**_RRL, "adjustment": Range(0.0, 2.0)},
    "seesaw": {"stage1.p": Range(0.2, 1.5), "stage1.q": Range(0.5, 4.0)},  # Its table 5.
    # It is about weight decay: both stages have more of it than others.
    "weight-balancing": {
        _DECAY: Range(1e-4, 1e-1, log=True),
        "stage2.optimisation.weight_decay": Range(1e-2, 1.0, log=True),
        "stage2.max_norm": Range(0.05, 1.0, log=True),
    },
}


def space_of(name: str, method: Method) -> Space:
    """Returns the settings that are searched of a method, built in or from a file of one's own."""
    own: Space = getattr(method, "SPACE", OWN.get(name, {}))
    return {**SHARED, **own}
