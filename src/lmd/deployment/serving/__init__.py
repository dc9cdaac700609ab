"""`lmd serve`: a page and an HTTP interface on this machine that answer images with a trained model."""
