"""Features of a frozen encoder, kept in a folder, and classifiers that are fitted to them in seconds."""
