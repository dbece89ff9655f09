"""What decides: one folder per family, one file per mechanism."""
