"""Export: a run's network as one file that predicts without this package."""
