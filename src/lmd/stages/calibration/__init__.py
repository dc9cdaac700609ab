"""Stage 2 of LMD: Iterative Classifier Calibration (Algorithm 1, lines 9-19)."""
