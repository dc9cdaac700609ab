"""The stages that methods are made of: which steps, in which order."""
