"""Where the main vehicle stands: the ground around it and the things on that ground."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from numpy.random import Generator

from vehicle_lightning.synthetic.drawing import scenery
from vehicle_lightning.synthetic.drawing.canvas import Brush, Colour
from vehicle_lightning.synthetic.drawing.chance import between, happens, pick
from vehicle_lightning.synthetic.drawing.liveries import choose_vehicle
from vehicle_lightning.synthetic.drawing.vehicle import draw_vehicle

ASPHALT: tuple[Colour, ...] = ((88, 90, 94), (104, 104, 106), (74, 76, 82), (116, 112, 108))
PAVING: tuple[Colour, ...] = ((168, 164, 156), (150, 150, 150), (182, 172, 156))
GRASS: tuple[Colour, ...] = ((104, 134, 66), (124, 140, 72), (88, 118, 60), (150, 148, 86))
PAINT: Colour = (226, 226, 220)
STRANGERS = 0.03  # share of vehicles in the background that are emergency vehicles


@dataclass(frozen=True)
class Thing:
    """Something that stands at (x, y), at most `reach` metres from there."""

    x: float
    y: float
    reach: float
    draw: Callable[[Brush], None]  # with a brush at (x, y)
    heading: float = 0.0


def choose_place(rng: Generator, brush: Brush) -> list[Thing]:
    """Paint sky and ground of a random place, and return what stands there."""
    scenery.sky(rng, brush)
    place = pick(rng, (street, country, motorway, car_park), (0.38, 0.22, 0.18, 0.22))
    things = list(place(rng, brush))
    scenery.mist(brush)
    scenery.texture(rng, brush)
    return things


def street(rng: Generator, brush: Brush) -> Iterator[Thing]:
    """A town street with houses, parked cars, trees and passers-by on both sides."""
    right = -between(rng, 1.5, 5.2)
    left = right + 7.0
    scenery.earth(rng, brush, pick(rng, PAVING))
    _strip(brush, right, left, pick(rng, ASPHALT))
    _dashes(brush, 0.5 * (left + right), 3.0, 6.0)
    for edge in (left, right):
        _strip(brush, edge - 0.08, edge + 0.08, (196, 194, 188))
    parked = happens(rng, 0.6)
    setback = between(rng, 2.5, 6.0)
    if setback > 4:
        for low, high in ((left + 2.2, left + 60), (right - 60, right - 2.2)):
            _strip(brush, low, high, pick(rng, GRASS))
    for side, edge in ((1, left), (-1, right)):
        x = between(rng, -60, -50)
        while x < 75:
            width = between(rng, 6, 13)
            yield _house(rng, x + width / 2, edge + side * setback, width, side)
            x += width + pick(rng, (0.0, 0.0, 3.0))
        for x in range(-40, 60, 9):
            near = between(rng, 0.8, 1.8)
            spot = x + between(rng, 0, 6), edge + side * near
            yield from _pavement(rng, *spot)
            if parked and abs(x) > 6 and happens(rng, 0.45):
                yield _other_vehicle(rng, x, edge - side * 1.1, pick(rng, (0.0, math.pi)))


def _pavement(rng: Generator, x: float, y: float) -> Iterator[Thing]:
    kind = pick(rng, ("person", "tree", "lamp", "sign", "nothing"), (0.2, 0.2, 0.14, 0.1, 0.36))
    match kind:
        case "person":
            yield Thing(x, y, 0.5, partial(scenery.person, rng))
        case "tree":
            tall = between(rng, 4, 8)
            yield Thing(x, y, 1.5, _wood(rng, tall))
        case "lamp":
            yield Thing(x, y, 1.0, partial(scenery.lamp_post, rng))
        case "sign":
            yield Thing(x, y, 0.5, partial(scenery.road_sign, rng))


def country(rng: Generator, brush: Brush) -> Iterator[Thing]:
    """A country road between fields, hedges and trees."""
    grass = pick(rng, GRASS)
    scenery.earth(rng, brush, grass)
    scenery.hills(rng, brush, pick(rng, ((96, 120, 84), (110, 124, 128), (130, 126, 92))))
    for side in (1, -1):
        for row in range(3):
            field = pick(rng, ((176, 160, 84), (120, 140, 70), (140, 112, 78), (96, 124, 60)))
            _strip(brush, side * (9 + 22 * row), side * (31 + 22 * row), field)
    right = -between(rng, 1.5, 4.2)
    left = right + between(rng, 5.6, 6.6)
    _strip(brush, right, left, pick(rng, (*ASPHALT, (158, 140, 112))))
    if happens(rng, 0.7):
        _dashes(brush, 0.5 * (left + right), 2.0, 5.0)
    for side, edge in ((1, left), (-1, right)):
        if happens(rng, 0.5):
            for x in range(-48, 64, 16):
                yield Thing(x, edge + side * 1.8, 9.0, partial(scenery.fence, rng, length=16.0))
        for x in range(-50, 90, 5):
            spot = x + between(rng, 0, 5), edge + side * between(rng, 3, 24)
            if happens(rng, 0.3):
                tall = between(rng, 4, 11)
                yield Thing(*spot, 2.5, _wood(rng, tall))
            elif happens(rng, 0.5):
                low = between(rng, 0.8, 2.0)
                yield Thing(*spot, 2.0, partial(scenery.bush, rng, height=low))
    if happens(rng, 0.4):
        yield _house(rng, between(rng, -25, 30), left + between(rng, 14, 35), 12.0, 1)
    if happens(rng, 0.35):
        yield _other_vehicle(rng, pick(rng, (-22.0, 24.0)), 0.5 * (left + right) + 1.5, math.pi)


def motorway(rng: Generator, brush: Brush) -> Iterator[Thing]:
    """Several lanes each way, a guard rail in the middle, traffic."""
    scenery.earth(rng, brush, pick(rng, GRASS))
    scenery.hills(rng, brush, pick(rng, ((96, 120, 84), (120, 128, 120))))
    right = -between(rng, 2.0, 9.0)
    left, tar = right + 12.5, pick(rng, ASPHALT)
    for low in (right, left + 3.5):
        _strip(brush, low, low + 12.5, tar)
        for edge in (low + 0.6, low + 11.9):
            _strip(brush, edge - 0.07, edge + 0.07, PAINT)
        for lane in (4.4, 8.2):
            _dashes(brush, low + lane, 4.0, 10.0)
    for x in range(-60, 100, 20):
        yield Thing(x, left + 1.7, 11.0, partial(_guard_rail, length=20.0))
    for lane in (left + 6.0, left + 9.8):
        for x in range(-40, 70, 24):
            if happens(rng, 0.4):
                yield _other_vehicle(rng, x + between(rng, 0, 14), lane, math.pi)
    for lane in (right + 2.6, right + 6.3, right + 10.0):
        if abs(lane) > 2.4 and happens(rng, 0.5):
            yield _other_vehicle(rng, pick(rng, (-1, 1)) * between(rng, 9, 35), lane, 0.0)
    for x in range(-60, 100, 9):
        for y in (left + 19.0, right - 4.0):
            if happens(rng, 0.45):
                tall, away = between(rng, 4, 9), between(rng, 0, 6) * (1 if y > 0 else -1)
                yield Thing(x, y + away, 2.5, _wood(rng, tall))


def car_park(rng: Generator, brush: Brush) -> Iterator[Thing]:
    """A car park or a yard with marked bays, other vehicles and a long building."""
    scenery.earth(rng, brush, pick(rng, (*ASPHALT, (150, 148, 142))))
    bays = between(rng, 5.0, 7.5)
    if happens(rng, 0.8):
        for side in (1, -1):
            for bay in range(-9, 12):
                x = 2.7 * bay + 1.2
                spots = ((x, side * (bays - 2.5)), (x + 0.12, side * (bays - 2.5)))
                brush.ground(
                    (*spots, (x + 0.12, side * (bays + 2.5)), (x, side * (bays + 2.5))), PAINT
                )
    if happens(rng, 0.5):
        for bay in range(-8, 10):
            if happens(rng, 0.4):
                yield _other_vehicle(
                    rng,
                    2.7 * bay - 0.1,
                    bays * pick(rng, (1, -1)),
                    pick(rng, (0.5, -0.5)) * math.pi,
                )
    back = between(rng, 13, 28)
    for side, turn in ((1, 0.0), (-1, math.pi)):
        width = between(rng, 24, 60)
        x = between(rng, -15, 15)
        yield Thing(x, side * back, width / 2, partial(scenery.hall, rng, width=width), turn)
        for x in range(-45, 60, 12):
            yield from _pavement(rng, x + between(rng, 0, 8), side * (back - 3))
    for x in (-38.0, 46.0):
        yield Thing(
            x, 0.0, 10.0, partial(scenery.house, rng, width=18, depth=10, floors=2),
            math.copysign(math.pi / 2, -x),
        )  # fmt: skip


def _strip(brush: Brush, right: float, left: float, colour: Colour) -> None:
    """A strip of ground along the road."""
    x = brush.view.eye[0]
    ends = (x - 400, x + 400)
    brush.ground(((ends[0], right), (ends[1], right), (ends[1], left), (ends[0], left)), colour)


def _dashes(brush: Brush, y: float, length: float, step: float) -> None:
    for index in range(-10, 14):
        x = index * step
        corners = ((x, y - 0.07), (x + length, y - 0.07), (x + length, y + 0.07), (x, y + 0.07))
        brush.ground(corners, PAINT)


def _guard_rail(brush: Brush, length: float) -> None:
    metal: Colour = (168, 172, 176)
    for post in range(0, int(length), 4):
        brush.fill(
            ((post, 0, 0), (post + 0.12, 0, 0), (post + 0.12, 0, 0.7), (post, 0, 0.7)), metal
        )
    for low, shade in ((0.45, 0.8), (0.6, 1.0)):
        colour = (metal[0] * shade, metal[1] * shade, metal[2] * shade)
        brush.fill(
            ((0, 0, low), (length, 0, low), (length, 0, low + 0.16), (0, 0, low + 0.16)), colour
        )


def _wood(rng: Generator, height: float) -> Callable[[Brush], None]:
    """A tree of either kind."""
    if happens(rng, 0.25):
        return partial(scenery.fir, height=height)
    return partial(scenery.tree, rng, height=height)


def _house(rng: Generator, x: float, y: float, width: float, side: int) -> Thing:
    depth, floors = between(rng, 7, 11), pick(rng, (1, 2, 2, 3, 4))
    return Thing(
        x,
        y,
        width / 2 + 1,
        partial(scenery.house, rng, width=width, depth=depth, floors=floors),
        0.0 if side > 0 else math.pi,
    )


def _other_vehicle(rng: Generator, x: float, y: float, heading: float) -> Thing:
    vehicle = choose_vehicle(rng, emergency=happens(rng, STRANGERS))
    heading += between(rng, -0.05, 0.05)
    return Thing(x, y, vehicle.body.length / 2, partial(draw_vehicle, vehicle), heading)
