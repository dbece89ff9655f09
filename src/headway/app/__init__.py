"""How people reach Headway: command line and server."""
