"""Explanations: a run and images -> evidence maps -> occlusion check -> sheet."""
