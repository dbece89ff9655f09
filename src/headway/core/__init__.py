"""Nouns and rules: what every other room stands on."""
