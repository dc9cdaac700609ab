"""How the settings of a run come about: defaults < preset < budget < recipe < flags < --set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any, cast

from lmd import methods
from lmd.amounts import Share, Steps
from lmd.data.dataset.manifest import Dataset
from lmd.methods import Method
from lmd.models.encoder import usable_size
from lmd.planning import rules
from lmd.planning.facts import Facts, facts_of
from lmd.settings import CommonSettings, Tree, merge, parse_override, resolve
from lmd.stages.optimisation import steps_per_epoch

AUTO = "auto"


def settings_for(
    method: str,
    dataset: Dataset,
    budget: str = AUTO,
    recipe: Mapping[str, Any] = MappingProxyType({}),
    flags: Mapping[str, Any] = MappingProxyType({}),
    overrides: Sequence[str] = (),
) -> CommonSettings:
    """Returns the settings of a run: defaults < preset < budget < recipe < flags < overrides.

    This is the one way in which they come about, for the command, the Python interface and experiments. For
    the budget "auto" the data are looked at; for the others `methods.settings_of` needs none.

    Raises:
        SettingsError: no such method or budget, or a setting that does not exist or is out of range.
        DataError: an image whose size is to be known cannot be read.
    """
    if budget != AUTO:
        return methods.settings_of(method, budget, recipe, flags, overrides)
    module = methods.load(method)
    chosen = reduce(merge, (recipe, flags, *map(parse_override, overrides)), cast("Tree", {}))
    size = chosen.get("size")
    facts = facts_of(dataset, side=size if isinstance(size, int) else None)
    plan = plan_of(module, facts, chosen)
    return resolve(module.Settings, methods.preset(module), plan, recipe, flags, overrides=overrides)


def plan_of(module: Method, facts: Facts, chosen: Mapping[str, Any] = MappingProxyType({})) -> Tree:
    """Returns what the budget "auto" lays over a method's defaults, where a person has `chosen` the rest.

    The steps are what is kept: the epochs follow from them and from the batch in force.

    Raises:
        SettingsError: something that was chosen does not exist or is out of range.
    """
    preset = methods.preset(module)
    common = rules.first_rules(facts)
    lengths = merge(rules.stage_lengths(facts, module.Settings), methods.budget(module, AUTO))
    in_force = resolve(module.Settings, preset, common, _without_amounts(lengths), chosen)
    if "size" not in chosen:
        common["size"] = usable_size(in_force.encoder, common["size"])
    steps = steps_per_epoch(facts.images, in_force.batch, in_force.last_batch)
    lengths = _counted(lengths, Steps, steps)
    return merge(common, _counted(lengths, Share, _first_epochs(merge(lengths, chosen), in_force)))


def _first_epochs(tree: Mapping[str, Any], in_force: CommonSettings) -> int:
    """The epochs of the first stage: those of the tree, else the method's own; 1 where it counts none."""
    group = tree.get("stage1")
    own = getattr(getattr(in_force, "stage1", None), "epochs", 1)
    return int(cast("Tree", group).get("epochs", own)) if isinstance(group, Mapping) else int(own)


def _counted(tree: Mapping[str, Any], kind: type[Steps | Share], number: int) -> Tree:
    """Returns a tree whose lengths of one kind are epochs; `number` is what they are counted by."""
    found: Tree = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found[name] = _counted(cast("Tree", value), kind, number)
        else:
            found[name] = value.in_epochs(number) if isinstance(value, kind) else value
    return found


def _without_amounts(tree: Mapping[str, Any]) -> Tree:
    """Returns a tree without the lengths that are not in epochs yet."""
    found: Tree = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found[name] = _without_amounts(cast("Tree", value))
        elif not isinstance(value, Steps | Share):
            found[name] = value
    return found
