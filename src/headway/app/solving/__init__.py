"""Solving one problem as a whole: `headway solve`."""
