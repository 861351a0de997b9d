"""Who drives on the road, and how often: the tables from which every vehicle is drawn.

These fleets are the whole difference between the two classes. Both are painted by the same code and
share bodies, paints, patterns and lettering. A number is the weight of the name before it.
"""

from dataclasses import dataclass

from numpy.random import Generator

from vehicle_lightning.synthetic.canvas import Colour
from vehicle_lightning.synthetic.rng import between, pick

PAINTS: dict[str, Colour] = {
    "white": (234, 235, 236),
    "silver": (176, 180, 186),
    "grey": (112, 116, 122),
    "black": (30, 31, 35),
    "red": (200, 24, 26),
    "dark red": (118, 22, 30),
    "blue": (28, 72, 178),
    "light blue": (104, 152, 206),
    "navy": (24, 34, 78),
    "green": (28, 112, 70),
    "olive": (96, 104, 72),
    "lime": (206, 226, 40),
    "yellow": (246, 210, 30),
    "orange": (232, 104, 24),
    "beige": (206, 196, 166),
    "brown": (96, 68, 50),
    "gold": (180, 152, 84),
}


def mixed_paint(rng: Generator, name: str) -> Colour:
    """A named paint as it looks on one vehicle: a little faded, tinted or dirty."""
    fade = between(rng, 0.85, 1.07)
    red, green, blue = (
        min(255.0, max(0.0, part * fade + between(rng, -8, 8))) for part in PAINTS[name]
    )
    return red, green, blue


@dataclass(frozen=True)
class Fleet:
    """The vehicles of one kind of owner; where names stand with weights, one of them is chosen."""

    share: float  # of its class
    bodies: str
    paints: str
    patterns: str = "plain 1"
    accents: str = "black/white 1"  # pairs of paints of the patterns
    roofs: str = "bare 1"
    words: str = ""
    lettered: float = 0.85  # share with words on the sides, where there are any


ORDINARY = (
    Fleet(  # families
        0.78,
        "sedan 29, coupe 10, hatchback 16, estate 9, SUV 15, minivan 7, pick-up 14",
        "white 19, silver 19, grey 12, black 12, red 11, dark red 4, blue 8, light blue 2, navy 2,"
        " green 2, yellow 3, orange 2, beige 2, brown 1, gold 1",
        "plain 94, low band 3, stripe 3",
        "silver/black 2, grey/black 2, red/white 1, blue/white 1",
        "bare 80, rails 12, luggage 8",
    ),
    Fleet(  # old and admired cars
        0.10,
        "classic 80, pick-up 20",
        "red 14, dark red 10, blue 10, light blue 16, white 14, black 12, green 10, beige 10,"
        " yellow 6, olive 6, orange 4",
        "plain 70, stripe 14, two-tone 16",
        "white/black 3, beige/black 1, black/white 1",
    ),
    Fleet(  # racing
        0.03,
        "coupe 60, sedan 20, hatchback 20",
        "white 30, red 20, blue 20, yellow 15, orange 8, green 7",
        "swoosh 35, stripe 25, twin stripes 20, low band 20",
        "red/white 2, blue/red 2, black/yellow 1, orange/navy 2, yellow/blue 1",
        words="12 1, 27 1, 5 1, 46 1, RACING 1, TURBO 1",
    ),
    Fleet(  # taxis and learners
        0.03,
        "sedan 45, hatchback 25, estate 15, minivan 15",
        "yellow 40, white 25, black 20, beige 15",
        "plain 60, chequered line 25, two-tone 15",
        "black/white 2, yellow/black 1, green/white 1",
        "taxi 85, luggage 15",
        "TAXI 1, CAB 1, 24-7 1, CITY CAR 1",
        lettered=0.6,
    ),
    Fleet(  # trades and road works
        0.06,
        "van 55, box van 15, pick-up 15, lorry 15",
        "white 45, red 12, yellow 16, orange 6, blue 10, brown 4, green 4, silver 6",
        "plain 50, stripe 15, swoosh 20, low band 15",
        "red/yellow 1, blue/yellow 1, green/yellow 1, orange/navy 1, red/white 1",
        "bare 65, rails 15, amber bar 20",
        "PARCELS 1, BAKERY 1, PLUMBER 1, MOVING 1, POST 1, RECOVERY 1",
    ),
)

WARNING = "blue bar 44, red-blue bar 40, red bar 12, bare 4"

EMERGENCY = (
    Fleet(  # patrol cars, white or dark with stripes
        0.36,
        "sedan 40, SUV 34, hatchback 6, estate 6, pick-up 14",
        "white 68, black 14, silver 6, navy 6, grey 3, blue 3",
        "stripe 26, twin stripes 20, two-tone 20, swoosh 16, low band 8, plain 16",
        "blue/gold 4, navy/light blue 3, black/white 4, blue/red 2, green/yellow 1, white/blue 3",
        WARNING,
        "POLICE 3, SHERIFF 1, STATE POLICE 1, CITY POLICE 1",
        lettered=0.9,
    ),
    Fleet(  # patrol cars, chequered
        0.10,
        "sedan 25, SUV 25, hatchback 15, estate 15, van 20",
        "white 66, silver 20, yellow 14",
        "chequers 100",
        "blue/yellow 7, blue/white 2, navy/yellow 1",
        WARNING,
        "POLICE 1",
    ),
    Fleet(  # unmarked
        0.04,
        "sedan 40, SUV 40, estate 20",
        "black 30, grey 25, silver 20, white 15, navy 10",
        roofs="blue bar 30, red-blue bar 30, bare 40",
    ),
    Fleet(  # fire engines
        0.28,
        "fire engine 88, lorry 12",
        "red 84, white 5, yellow 5, orange 4, lime 2",
        "chequers 40, stripe 30, low band 12, twin stripes 14, plain 4",
        "yellow/red 5, white/yellow 3, white/gold 2",
        "blue bar 60, red-blue bar 10, red bar 30",
        "FIRE 1, FIRE RESCUE 1, FIRE DEPT 1, RESCUE 1",
    ),
    Fleet(  # officers of the fire brigade
        0.06,
        "SUV 45, pick-up 25, van 20, estate 10",
        "red 80, white 12, yellow 8",
        "chequers 55, stripe 30, swoosh 15",
        "yellow/red 4, white/yellow 2, white/gold 1",
        WARNING,
        "FIRE 1, RESCUE 1, FIRE CHIEF 1",
    ),
    Fleet(  # ambulances
        0.16,
        "van 38, box van 44, SUV 8, estate 10",
        "yellow 36, white 52, lime 8, red 4",
        "chequers 58, stripe 20, twin stripes 14, low band 8",
        "green/yellow 5, red/white 2, orange/white 2, blue/orange 1, red/yellow 1",
        WARNING,
        "AMBULANCE 2, PARAMEDIC 1, MEDIC 1, EMERGENCY 1",
    ),
)


def choose_fleet(rng: Generator, emergency: bool) -> Fleet:
    """One of the fleets of a class."""
    fleets = EMERGENCY if emergency else ORDINARY
    return pick(rng, fleets, [fleet.share for fleet in fleets])
