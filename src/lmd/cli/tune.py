"""The verb that searches settings: tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import AllowCode, Budget, Data, PartialWeights, Seed, Set, TauRule, Weights, app, say
from lmd.cli.names import check_choice, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER


@app.command(
    cls=Verb,
    short_help="Searches settings on validation images; as many trials each",
    epilog="lmd tune DATA --method lmd --trials 20 --out SEARCH --budget short\n"
    "lmd tune DATA --method ce --method lmd --trials 20 --out SEARCH",
)
def tune(
    data: Data,
    method: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="a method, as for 'lmd train'; may be given again"),
    ],
    trials: Annotated[
        int, typer.Option(metavar=NUMBER, callback=within(1), help="how many trials of each method")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="the folder for trials and recipes; a second call goes on")
    ],
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a YAML file of settings to search (docs/tune.md)")
    ] = None,
    tau: TauRule = "0",
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a YAML file of settings to begin with")
    ] = None,
    settings: Set = None,
    budget: Budget = None,
    weights: Weights = None,
    partial_weights: PartialWeights = False,
    seed: Seed = None,
    allow_code: AllowCode = False,
) -> None:
    """Searches settings with optuna, scored on validation images or folds; never on the test split."""
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    for name in method:
        check_choice(name, recipe, settings or [], allow_code)
    from lmd.api.data import read_dataset
    from lmd.api.several import tune as run_search
    from lmd.tuning.sampler import optuna

    optuna()  # Before torch is loaded.
    dataset = read_dataset(data)
    outcome = run_search(
        dataset, method, trials=trials, out=out, budget=budget, recipe=recipe, settings=settings or [],
        seed=42 if seed is None else seed, weights=weights, partial_weights=partial_weights, space=space,
        tau=tau, allow_code=allow_code, say=say,
    )  # fmt: skip
    for line in outcome.lines():
        say(line)
