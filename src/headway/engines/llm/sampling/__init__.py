"""Choosing tokens: distributions, penalties, grammars."""
