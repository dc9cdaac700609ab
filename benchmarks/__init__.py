"""Speed and memory, measured side by side: run `make bench`, or `python -m benchmarks --help`."""
