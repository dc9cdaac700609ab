"""A trained model where it is used: what leaves the run folder, and what answers others."""
