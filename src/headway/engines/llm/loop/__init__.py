"""The engine loop: what arrives, one step after the other, what goes out."""
