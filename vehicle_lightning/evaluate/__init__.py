"""Measure trained networks on labelled images that nothing was chosen by."""
