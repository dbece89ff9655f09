"""Generators: when requests arrive, how long they are, and which of them begin alike."""
