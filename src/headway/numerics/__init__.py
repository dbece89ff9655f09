"""Mathematics that knows nothing of what is scheduled: queueing formulas."""
