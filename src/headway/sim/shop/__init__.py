"""Virtual time of shops, fleets and networks, and the instances that are played in them."""

from headway.core.compiled import path_of

__path__ = path_of(__name__, __path__)
