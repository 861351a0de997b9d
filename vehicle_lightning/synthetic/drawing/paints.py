"""Named paints, and how the colours of everyday vehicles are mixed."""

from numpy.random import Generator

from vehicle_lightning.synthetic.drawing.canvas import Colour
from vehicle_lightning.synthetic.drawing.chance import between

PAINTS: dict[str, Colour] = {
    "white": (232, 233, 235),
    "silver": (172, 176, 182),
    "grey": (104, 108, 114),
    "black": (36, 37, 41),
    "red": (196, 30, 30),
    "dark red": (128, 22, 28),
    "blue": (26, 62, 186),
    "light blue": (88, 142, 214),
    "navy": (24, 34, 74),
    "green": (30, 104, 66),
    "lime": (196, 216, 48),
    "yellow": (240, 200, 36),
    "orange": (234, 118, 30),
    "beige": (208, 196, 166),
    "brown": (94, 64, 46),
    "gold": (182, 146, 62),
    "pink": (214, 96, 140),
}


def mixed(rng: Generator, name: str) -> Colour:
    """A named paint as it looks on one vehicle: a little faded, tinted or dirty."""
    fade = between(rng, 0.84, 1.08)
    red, green, blue = (
        min(255.0, max(0.0, part * fade + between(rng, -9, 9))) for part in PAINTS[name]
    )
    return red, green, blue
