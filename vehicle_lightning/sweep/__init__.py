"""Search for good settings."""
