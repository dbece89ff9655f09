"""How mechanisms that learn in advance are taught: `headway train`."""
