"""Data: table, splits, cache, synthetic vehicles, and the data module that serves them."""
