"""What a trained model needs to be used elsewhere."""
