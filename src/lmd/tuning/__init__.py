"""The search for settings: trials on validation images, as many for each method."""
