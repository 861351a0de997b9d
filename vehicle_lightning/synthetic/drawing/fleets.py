"""Who drives on the road, and how often: the tables from which every vehicle is drawn.

These fleets are the whole difference between the two classes. Both are dressed by the same code
and share bodies, paints, patterns, emblems and lettering; no single one of them tells the class.
In the tables a number is the weight of the name before it.
"""

from dataclasses import dataclass

Choice = dict[str, float]


def _weights(text: str) -> Choice:
    pairs = (item.rsplit(" ", 1) for item in text.split(", "))
    return {name: float(weight) for name, weight in pairs}


@dataclass(frozen=True)
class Fleet:
    """The vehicles of one kind of owner."""

    share: float  # of its class
    bodies: Choice
    paints: Choice
    patterns: Choice
    roofs: Choice
    accents: tuple[tuple[str, str], ...]  # paints of the patterns: main and second
    words: tuple[str, ...]
    wordless: float  # share without lettering on the sides
    emblems: tuple[str, ...]
    chevrons: float  # share with a striped rear
    warns: bool  # may carry flashing lamps in its grille


def _fleet(
    share: float,
    bodies: str,
    paints: str,
    patterns: str,
    roofs: str = "bare 1",
    accents: str = "grey/black",
    words: str = "",
    wordless: float = 0.12,
    emblems: str = "",
    chevrons: float = 0.0,
    warns: bool = False,
) -> Fleet:
    pairs = (pair.split("/") for pair in accents.split(", "))
    return Fleet(
        share,
        _weights(bodies),
        _weights(paints),
        _weights(patterns),
        _weights(roofs),
        tuple((main, second) for main, second in pairs),
        tuple(words.split(", ")) if words else (),
        wordless,
        tuple(emblems.split(", ")) if emblems else (),
        chevrons,
        warns,
    )


FAMILIES = _fleet(
    0.58,
    "sedan 24, hatchback 24, estate 18, SUV 22, pick-up 12",
    "white 17, silver 14, grey 13, black 13, red 12, dark red 4, blue 8, light blue 3, navy 4,"
    " green 3, yellow 3, orange 2, beige 2, brown 2",
    "plain 91, stripe 3, low band 3, two-tone 3",
    "bare 66, rails 8, luggage 12, load 14",
    "black/red, white/blue, silver/black, red/white",
)
TAXIS = _fleet(
    0.07,
    "sedan 45, hatchback 20, estate 25, minibus 10",
    "yellow 34, white 24, black 18, beige 14, silver 10",
    "plain 60, taxi chequers 22, stripe 10, two-tone 8",
    "taxi sign 80, learner sign 20",
    "black/white, yellow/black, blue/white, green/white",
    "TAXI, CAB, 24-7, CITY CAR, 555-0142",
    wordless=0.3,
)
TRADES = _fleet(
    0.16,
    "van 50, box van 28, hatchback 6, estate 6, pick-up 10",
    "white 38, red 17, yellow 13, blue 8, brown 5, green 5, orange 4, silver 6, navy 4",
    "plain 48, stripe 11, twin stripes 9, swoosh 16, low band 8, two-tone 8",
    "bare 80, ladder 12, load 8",
    "red/yellow, blue/yellow, blue/red, green/yellow, orange/navy, red/white, yellow/blue,"
    " pink/navy",
    "PARCELS, EXPRESS, BAKERY, FLOWERS, PLUMBER, FRESH FISH, ELECTRIC, POST, CATERING, MOVING,"
    " CLEANING, LAUNDRY, RENTAL, COFFEE, OPTICS",
    wordless=0.22,
    emblems="disc, diamond, arrow, triangle, flower, shield, badge",
)
HAULAGE = _fleet(
    0.07,
    "lorry 75, flatbed 25",
    "white 28, red 28, blue 14, yellow 12, green 10, orange 8",
    "plain 60, stripe 12, swoosh 14, twin stripes 8, low band 6",
    accents="red/white, blue/white, yellow/black, green/white",
    words="LOGISTICS, FREIGHT, COLD CHAIN, TIMBER, DAIRY, FURNITURE, CARGO",
    wordless=0.3,
    emblems="disc, diamond, arrow, triangle",
    chevrons=0.1,
)
COACHES = _fleet(
    0.06,
    "bus 75, minibus 25",
    "white 25, red 25, yellow 20, blue 15, green 15",
    "plain 30, stripe 25, swoosh 20, low band 25",
    accents="black/white, white/red, blue/yellow, orange/white",
    words="CITY LINE, SCHOOL BUS, COACHES, SHUTTLE, AIRPORT",
    wordless=0.3,
    emblems="disc, arrow",
)
ROAD_WORKS = _fleet(
    0.06,
    "van 26, pick-up 28, flatbed 22, box van 12, SUV 12",
    "yellow 30, white 35, orange 20, red 15",
    "plain 35, stripe 25, hazard stripes 25, chequers 5, low band 10",
    "amber bar 45, amber beacons 45, bare 10",
    "orange/white, orange/black, red/yellow, black/yellow",
    "ROAD WORKS, HIGHWAYS, RECOVERY, ESCORT, SERVICE, TOWING",
    wordless=0.3,
    chevrons=0.6,
)

WARNING = "blue bar 38, red-blue bar 26, red bar 14, blue beacons 16, red beacons 6"

PATROL_CARS = _fleet(
    0.36,
    "sedan 30, hatchback 14, estate 22, SUV 27, pick-up 7",
    "white 42, black 16, silver 14, navy 8, blue 8, green 4, yellow 4, grey 4",
    "chequers 44, stripe 12, twin stripes 10, two-tone 22, swoosh 7, low band 5",
    WARNING,
    "blue/yellow, blue/white, black/white, white/blue, green/white, blue/red, navy/gold, blue/lime",
    "POLICE, POLICE, POLICE, SHERIFF, STATE POLICE, CITY POLICE",
    emblems="badge, shield, six-point star",
    chevrons=0.3,
    warns=True,
)
UNMARKED = _fleet(
    0.03,
    "sedan 30, estate 30, SUV 25, van 15",
    "black 25, grey 20, silver 20, white 15, red 10, blue 10",
    "plain 1",
    "blue bar 40, red-blue bar 30, blue beacons 30",
    warns=True,
)
POLICE_VANS = _fleet(
    0.1,
    "van 40, minibus 60",
    "white 50, silver 15, navy 13, blue 10, black 6, yellow 6",
    "chequers 56, stripe 18, twin stripes 14, swoosh 12",
    WARNING,
    "blue/yellow, blue/white, navy/white, white/blue, blue/red",
    "POLICE, POLICE, CUSTODY, DOG UNIT",
    emblems="badge, shield",
    chevrons=0.35,
    warns=True,
)
FIRE_ENGINES = _fleet(
    0.2,
    "fire engine 85, lorry 5, flatbed 10",
    "red 56, white 15, yellow 13, lime 10, dark red 6",
    "chequers 42, stripe 20, low band 16, twin stripes 14, swoosh 8",
    WARNING,
    "white/red, yellow/red, lime/red, white/gold, blue/yellow",
    "FIRE, FIRE, FIRE RESCUE, RESCUE, FIRE DEPT",
    emblems="badge, shield, cross",
    chevrons=0.5,
    warns=True,
)
RESCUERS = _fleet(
    0.06,
    "SUV 35, pick-up 25, van 30, estate 10",
    "red 50, white 25, yellow 15, orange 10",
    "chequers 48, stripe 24, swoosh 12, low band 16",
    WARNING,
    "white/yellow, yellow/red, lime/red, orange/navy",
    "FIRE, RESCUE, FIRE CHIEF, MOUNTAIN RESCUE, COAST GUARD",
    emblems="badge, shield, cross",
    chevrons=0.4,
    warns=True,
)
AMBULANCES = _fleet(
    0.25,
    "van 40, box van 38, estate 12, SUV 10",
    "white 56, yellow 28, lime 6, red 6, orange 4",
    "chequers 50, stripe 22, twin stripes 12, swoosh 6, low band 10",
    WARNING,
    "green/yellow, red/white, orange/white, blue/white, red/yellow, blue/orange",
    "AMBULANCE, AMBULANCE, EMERGENCY, PARAMEDIC, MEDIC, DOCTOR",
    emblems="cross, six-point star, six-point star",
    chevrons=0.3,
    warns=True,
)

ORDINARY = (FAMILIES, TAXIS, TRADES, HAULAGE, COACHES, ROAD_WORKS)
EMERGENCY = (PATROL_CARS, UNMARKED, POLICE_VANS, FIRE_ENGINES, RESCUERS, AMBULANCES)
