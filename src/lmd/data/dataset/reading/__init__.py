"""Tables as users have them: a file becomes rows of texts."""
