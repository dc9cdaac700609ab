"""The Python interface: what the command `lmd` does, as functions. `import lmd` offers them all."""
