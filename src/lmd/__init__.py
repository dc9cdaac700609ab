"""Long-tailed medical diagnosis: training classifiers that recognise rare classes, and proving it."""

__version__ = "0.1.0"
