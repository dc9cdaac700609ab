"""From pixels to batches: orders, random draws, views."""
