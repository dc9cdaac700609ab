"""The command `lmd`: parse, call, print. Nothing heavy is imported before a verb runs."""

from lmd.cli import data, paper, runs
from lmd.cli.app import app, main

__all__ = ["app", "data", "main", "paper", "runs"]

# As a newcomer meets them; `--help` lists them so.
_ORDER = ["demo", "prepare", "inspect", "train", "evaluate", "predict"]
_ORDER += ["reproduce", "paper", "methods", "sources"]
app.registered_commands.sort(key=lambda command: _ORDER.index(getattr(command.callback, "__name__", "")))
