"""The command `lmd`: parse, call, print. Nothing heavy is imported before a verb runs."""

from lmd.cli import data, paper, prepare, runs
from lmd.cli.app import app, main

__all__ = ["app", "data", "main", "paper", "prepare", "runs"]
