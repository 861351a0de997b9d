"""Calibration: predictions of unseen images -> temperature -> operating point -> report."""
