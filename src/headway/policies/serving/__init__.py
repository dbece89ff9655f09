"""Serving: which tokens of which requests run next, where, with what memory."""

from headway.core.compiled import path_of

__path__ = path_of(__name__, __path__)
