"""Runs the stages of a method: epochs, validation, checkpoint, resume."""
