"""Synthetic vehicles: the default data set, drawn on first use."""

from vehicle_lightning.synthetic.dataset import VERSION, make_vehicles

__all__ = ["VERSION", "make_vehicles"]
