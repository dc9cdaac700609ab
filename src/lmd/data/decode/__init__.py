"""From an image file to uint8 pixels."""
