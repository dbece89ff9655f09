"""One short file per contender, each run in a process (and where need be an interpreter) of its own."""
