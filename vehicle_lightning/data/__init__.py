"""Data: table, splits, cache, drawn vehicles, and the data module that serves them."""
