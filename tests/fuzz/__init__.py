"""Hostile bytes for every reader: `make fuzz`. What is read, and what came of it: docs/reliability.md."""
