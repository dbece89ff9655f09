"""Contenders of the benchmark of simulators' speed, each run in a process of its own."""
