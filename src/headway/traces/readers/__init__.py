"""Readers: one file per format of recorded requests, and the door that finds the right one."""
