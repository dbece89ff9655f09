"""What a report looks like: figures, timelines, one-file pages."""
