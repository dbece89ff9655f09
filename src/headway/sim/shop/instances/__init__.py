"""Instances of scheduling problems: files in the formats that people exchange, and generators."""
