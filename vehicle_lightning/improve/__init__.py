"""Walk from a baseline to better settings, one change at a time."""
