"""The load generator: requests of a trace or a random process, sent on schedule to any OpenAI-compatible endpoint."""

from __future__ import annotations
