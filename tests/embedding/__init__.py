"""Features of frozen encoders."""
