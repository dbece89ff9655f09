"""Calibration: from what a live engine was measured to take to prices that virtual time goes by."""
