"""Lets `python -m lmd` be the command."""

from lmd.cli import main

main()
