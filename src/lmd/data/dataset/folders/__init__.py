"""Class folders: what each folder and file in them is."""
