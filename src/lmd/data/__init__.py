"""From raw images to batches: dataset folders, decoded pixels, the audit, orders and views."""
