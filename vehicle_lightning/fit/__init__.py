"""Train a network on a data set, and measure it."""
