"""Virtual time: one world per family."""
