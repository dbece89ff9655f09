"""The figures of a report, one per file: columns in, a description out."""
