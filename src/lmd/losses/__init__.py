"""What the paper says: pure functions of tensors, one for each equation of arXiv 2502.03238."""
