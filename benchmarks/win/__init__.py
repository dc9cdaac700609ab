"""Is `lmd-plus` above every baseline? The same folds, steps and rule for tau for every row."""
