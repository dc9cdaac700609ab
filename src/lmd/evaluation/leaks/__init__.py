"""Whether a model is measured on what it has seen in training."""
