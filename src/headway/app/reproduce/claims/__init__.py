"""Claims of publications, one file per mechanism; catalogue rows name them."""
