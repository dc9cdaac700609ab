"""Judging a model: predictions, metrics, intervals."""
