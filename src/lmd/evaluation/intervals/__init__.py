"""How sure a metric is: intervals of values and of paired differences."""
