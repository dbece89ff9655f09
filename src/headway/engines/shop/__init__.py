"""Shops whose machines are real: what to start is asked, what happens is told."""
