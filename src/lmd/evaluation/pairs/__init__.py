"""Several runs on the same cases: which of them can be told apart."""
