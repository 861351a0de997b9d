"""Walk from a baseline to better settings, step by step."""
