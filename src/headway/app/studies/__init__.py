"""Studies in virtual time: one run, comparisons, capacity, replays. The verbs of the command line stand on it."""
