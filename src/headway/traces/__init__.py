"""What arrives: request traces, recorded and made."""
