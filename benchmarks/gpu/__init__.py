"""What `benchmarks/gpu.sh` does on a GPU machine: parts one after another, each with its share of time."""
