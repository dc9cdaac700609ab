"""From raw images to batches: dataset folders, splits, the decoded cache, orders and views."""
