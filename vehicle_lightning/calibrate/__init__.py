"""Make the probabilities of a run mean what they say, and choose a threshold."""
