"""Virtual time of shops, fleets and networks, and the instances that are played in them."""
