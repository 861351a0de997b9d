"""Prediction: trained networks and images in, one row an image out."""
