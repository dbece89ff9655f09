"""Classical scheduling: job shops, single machines, projects, fleets and networks."""

from headway.core.compiled import path_of

__path__ = path_of(__name__, __path__)
