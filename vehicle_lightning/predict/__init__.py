"""Predict the classes of images by trained networks."""
