"""What the columns of a table mean: images, labels, splits, and whom an image belongs to."""
