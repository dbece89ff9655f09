"""Classical scheduling: job shops, single machines, projects, fleets and networks."""
