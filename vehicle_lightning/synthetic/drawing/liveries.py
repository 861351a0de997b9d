"""Dresses one vehicle of a fleet: paint, pattern, lettering, and what is on its roof."""

from dataclasses import replace

from numpy.random import Generator

from vehicle_lightning.synthetic.drawing.bodies import BODIES
from vehicle_lightning.synthetic.drawing.canvas import Colour
from vehicle_lightning.synthetic.drawing.chance import between, happens, pick
from vehicle_lightning.synthetic.drawing.fleets import EMERGENCY, ORDINARY, Choice, Fleet
from vehicle_lightning.synthetic.drawing.markings import (
    Band,
    Chequers,
    Chevrons,
    Emblem,
    Ladder,
    LightBar,
    RoofBox,
    RoofItem,
    RoofSign,
    Shutters,
    SideMarking,
    Words,
)
from vehicle_lightning.synthetic.drawing.paints import PAINTS, mixed
from vehicle_lightning.synthetic.drawing.vehicle import Vehicle

RED: Colour = (206, 24, 28)
BLUE: Colour = (26, 64, 200)
AMBER: Colour = (244, 140, 20)
CLEAR: Colour = (196, 202, 210)
INK: Colour = (24, 26, 32)

LENSES = {"blue": (BLUE, BLUE), "red": (RED, RED), "red-blue": (RED, BLUE), "amber": (AMBER, AMBER)}
RIMS: tuple[Colour, ...] = ((188, 190, 194), (150, 152, 156), (70, 71, 74), (216, 217, 219))
PLATES: tuple[Colour, ...] = ((236, 236, 230), (240, 214, 90), (200, 214, 236))
CHEVRONS = (("yellow", "red"), ("lime", "red"), ("white", "red"), ("yellow", "blue"))
DESTINATIONS = ("42 CENTRAL", "7 HARBOUR", "108 AIRPORT", "NOT IN SERVICE")
LETTER = 0.62  # width of a letter by its height


def choose_vehicle(rng: Generator, emergency: bool) -> Vehicle:
    """A vehicle of one of the fleets of its class, every one a little different."""
    fleets = EMERGENCY if emergency else ORDINARY
    fleet = pick(rng, fleets, [fleet.share for fleet in fleets])
    return _Dresser(rng, fleet).vehicle()


def _weighted(rng: Generator, choice: Choice) -> str:
    return pick(rng, tuple(choice), tuple(choice.values()))


class _Dresser:
    """Makes one vehicle of a fleet."""

    def __init__(self, rng: Generator, fleet: Fleet) -> None:
        self.rng = rng
        self.fleet = fleet
        model = BODIES[_weighted(rng, fleet.bodies)]
        self.body = replace(
            model,
            length=model.length * between(rng, 0.93, 1.07),
            height=model.height * between(rng, 0.95, 1.06),
        )
        self.paint_name = _weighted(rng, fleet.paints)
        self.paint = mixed(rng, self.paint_name)
        self.ink = PAINTS["white"] if sum(self.paint) < 330 else INK
        # A pattern in the colour of the paint would be invisible.
        pairs = [pair for pair in fleet.accents if pair[0] != self.paint_name] or fleet.accents
        main, second = pick(rng, pairs)
        self.accents = mixed(rng, main), mixed(rng, second)

    def vehicle(self) -> Vehicle:
        rng, body = self.rng, self.body
        shade = between(rng, 0.7, 1.2)
        words, emblems = self._lettering()
        grille = self.fleet.warns and happens(rng, 0.35)
        return Vehicle(
            body,
            self.paint,
            trim=self.paint if happens(rng, 0.5) else (44, 45, 48),
            glass=(38 * shade, 46 * shade, 56 * shade),
            rim=pick(rng, RIMS),
            plate=pick(rng, PLATES),
            spokes=int(rng.integers(4, 9)),
            side=(*self._shutters(), *self._pattern(), *emblems),
            side_words=words,
            front_words=self._front_words(),
            rear_words=self._rear_words(),
            chevrons=self._chevrons(),
            roof=self._roof(),
            grille_lamps=pick(rng, (BLUE, RED)) if grille else None,
            head_lamps_on=happens(rng, 0.3),
            brake_lamps_on=happens(rng, 0.25),
        )

    def _shutters(self) -> tuple[SideMarking, ...]:
        if self.body.name != "fire engine":
            return ()
        steel = mixed(self.rng, pick(self.rng, ("silver", "silver", "grey", self.paint_name)))
        return (Shutters((0.03, 0.55), (0.36, 0.82), int(self.rng.integers(2, 4)), steel),)

    def _pattern(self) -> tuple[SideMarking, ...]:
        rng, (main, second), (low, high) = self.rng, self.accents, self.body.panel
        tall = high - low
        at = low + tall * between(rng, 0.35, 0.65)
        thin = tall * between(rng, 0.14, 0.3)
        match _weighted(rng, self.fleet.patterns):
            case "stripe":
                start, slant = pick(rng, (-0.1, -0.1, 0.3)), pick(rng, (0.0, 0.0, 0.4))
                return (Band((at, at + thin), main, (start, 1.1), slant),)
            case "twin stripes":
                upper = Band((at, at + 0.8 * thin), main)
                return upper, Band((at - thin, at - 0.4 * thin), second)
            case "low band":
                return (Band((0.0, low + tall * between(rng, 0.2, 0.55)), main),)
            case "two-tone":
                ends = between(rng, 0.2, 0.32), between(rng, 0.62, 0.74)
                return (Band((0.0, 1.0), main, ends, 0.02),)
            case "swoosh":
                start, edge = between(rng, 0.15, 0.55), between(rng, 0.03, 0.08)
                slant = pick(rng, (-1.0, 1.0)) * between(rng, 0.2, 0.6)
                area = Band((0.0, 1.0), main, (-0.5, start), slant)
                return area, Band((0.0, 1.0), second, (start, start + edge), slant)
            case "chequers":
                block = between(rng, 0.5, 0.9) * (1.0 if self.body.length < 6 else 1.4)
                up = (low, high) if happens(rng, 0.75) else (at, high)
                return (Chequers(up, pick(rng, (1, 2, 2)), block, (main, second)),)
            case "taxi chequers":
                return (Chequers((high - 0.18 * tall, high), 2, 0.09, (INK, PAINTS["white"])),)
            case "hazard stripes":
                up = (low, low + 0.5 * tall)
                return tuple(
                    Band(up, self.accents[step % 2], (0.07 * step - 0.1, 0.07 * step - 0.03), 0.3)
                    for step in range(16)
                )
        return ()

    def _lettering(self) -> tuple[tuple[Words, ...], tuple[SideMarking, ...]]:
        rng, body, fleet = self.rng, self.body, self.fleet
        (u0, w0), (u1, w1) = body.sign
        middle = 0.5 * (w0 + w1)
        emblems: tuple[SideMarking, ...] = ()
        if fleet.emblems and happens(rng, 0.5):
            size = 0.42 * (w1 - w0) * body.height * between(rng, 0.6, 1.0)
            colour = pick(rng, (*self.accents, mixed(rng, "gold"), self.ink))
            at = (u0 + size / body.length, middle)
            emblems = (Emblem(pick(rng, fleet.emblems), colour, at, size),)
            u0 += 2.3 * size / body.length
        if not fleet.words or happens(rng, fleet.wordless):
            return (), emblems
        text = pick(rng, fleet.words)
        # As large as the place allows, or smaller.
        tall = min((w1 - w0) * body.height, (u1 - u0) * body.length / (LETTER * len(text)))
        tall *= between(rng, 0.65, 1.0)
        span = LETTER * len(text) * tall / body.length
        start = between(rng, u0, max(u0, u1 - span))
        rise = 0.5 * tall / body.height
        colour = self.ink if happens(rng, 0.6) else self.accents[0]
        return (
            (Words(text, colour, (start, middle - rise), (start + span, middle + rise)),),
            emblems,
        )

    def _front_words(self) -> tuple[Words, ...]:
        rng, (low, high) = self.rng, self.body.front_sign
        if self.body.name == "bus":
            return (Words(pick(rng, DESTINATIONS), AMBER, (-0.6, low), (0.6, high)),)
        if not self.fleet.words or not happens(rng, 0.5):
            return ()
        text = pick(rng, self.fleet.words)
        reach = min(0.8, 0.09 * len(text))
        mirrored = self.fleet.warns and happens(rng, 0.35)
        return (Words(text, self.ink, (-reach, low), (reach, high), mirrored),)

    def _rear_words(self) -> tuple[Words, ...]:
        if not self.fleet.words or not happens(self.rng, 0.55):
            return ()
        low, high = self.body.rear_sign
        text = pick(self.rng, self.fleet.words)
        reach = min(0.65, 0.08 * len(text))
        middle, rise = low + 0.75 * (high - low), 0.11 / self.body.height
        return (Words(text, self.ink, (-reach, middle - rise), (reach, middle + rise)),)

    def _chevrons(self) -> Chevrons | None:
        if not happens(self.rng, self.fleet.chevrons):
            return None
        first, second = pick(self.rng, CHEVRONS, (0.45, 0.2, 0.2, 0.15))
        colours = mixed(self.rng, first), mixed(self.rng, second)
        return Chevrons(colours, self.body.rear_sign, int(self.rng.integers(4, 8)))

    def _roof(self) -> tuple[tuple[float, RoofItem], ...]:
        rng, body = self.rng, self.body
        items: list[tuple[float, RoofItem]] = []
        if body.name == "fire engine" and happens(rng, 0.6):
            items.append((0.28, Ladder(0.5 * body.length)))
        match _weighted(rng, self.fleet.roofs).split():
            case ["taxi", "sign"]:
                colour, ink = pick(
                    rng, (((250, 214, 70), INK), ((246, 246, 240), INK), (INK, CLEAR))
                )
                text = pick(rng, ("TAXI", "TAXI", "CAB"))
                items.append((body.bar, RoofSign(text, colour, ink, happens(rng, 0.5))))
            case ["learner", "sign"]:
                items.append((body.bar, RoofSign("LEARNER", PAINTS["white"], RED, False)))
            case ["luggage"]:
                paint = mixed(rng, pick(rng, ("black", "grey", "white", "silver")))
                size = between(rng, 1.4, 2.0), between(rng, 0.25, 0.4)
                items.append((body.bar, RoofBox(*size, paint, 0.5)))
            case ["load"]:
                paint = mixed(rng, pick(rng, ("brown", "blue", "red", "beige", "silver")))
                size = between(rng, 0.5, 1.8), between(rng, 0.08, 0.2)
                items.append((body.bar - 0.05, RoofBox(*size, paint, 0.6)))
            case ["rails"]:
                items.append((body.bar, RoofBox(1.4, 0.04, (60, 60, 64), 0.62)))
            case ["ladder"]:
                items.append((body.bar - 0.25, Ladder(0.45 * body.length)))
            case [colours, "bar" | "beacons" as fitting]:
                bar = self._light_bar(LENSES[colours], fitting == "beacons")
                items.append((body.bar, bar))
                if body.height > 2.1 and body.roof(0.06) > 0.9 and happens(rng, 0.7):
                    lenses, lit = (bar.lenses[0], bar.lenses[-1]), (bar.lit[0], bar.lit[-1])
                    items.insert(0, (0.06, LightBar(lenses, lit, 0.16, beacons=True)))
        return tuple(items)

    def _light_bar(self, colours: tuple[Colour, Colour], beacons: bool) -> LightBar:
        rng, (first, second) = self.rng, colours
        on, height = happens(rng, 0.7), between(rng, 0.13, 0.22)
        lenses: tuple[Colour, ...]
        if beacons:
            lenses = (first,) if happens(rng, 0.4) else colours
        else:
            middle = pick(rng, ((), (CLEAR,), (CLEAR, CLEAR), (first, CLEAR, second)))
            lenses = (first, first, *middle, second, second)
        lit = tuple(on and lens != CLEAR and happens(rng, 0.65) for lens in lenses)
        if beacons:
            return LightBar(lenses, lit, height + 0.08, beacons=True)
        return LightBar(lenses, lit, height, beacons=False, span=between(rng, 0.55, 0.85))
