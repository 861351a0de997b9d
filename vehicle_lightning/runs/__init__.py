"""Runs: what one training writes, measures, says and draws."""
