"""Dataset folders: what they hold, how they are split, where they come from."""
