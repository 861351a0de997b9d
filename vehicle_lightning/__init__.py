"""A PyTorch Lightning research template for small image-classification data."""
