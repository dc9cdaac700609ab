"""Probabilities: calibrated, at stated shares of the classes, and the decisions made of them."""
