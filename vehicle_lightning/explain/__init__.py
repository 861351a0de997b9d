"""Show what in an image spoke for a prediction."""
