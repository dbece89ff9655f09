"""Serving: which tokens of which requests run next, where, with what memory."""
