"""Nouns and rules: what every other room stands on."""

from headway.core.compiled import path_of

__path__ = path_of(__name__, __path__)
