"""Real time: executors of schedules."""
