"""A method on all folds of a data set: trained, measured and used together."""
