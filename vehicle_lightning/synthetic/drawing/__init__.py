"""Draws one picture of a vehicle in its surroundings, from a random generator alone."""

from vehicle_lightning.synthetic.drawing.picture import draw_picture

__all__ = ["draw_picture"]
