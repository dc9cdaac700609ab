"""Finished runs side by side on the same images: which methods can be told apart."""
