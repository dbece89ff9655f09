"""The best possible: how many requests any policy could serve as promised, knowing all that is to come."""
