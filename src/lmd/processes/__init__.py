"""A training on several processes: who started them, what they exchange, and what each of them computes."""
