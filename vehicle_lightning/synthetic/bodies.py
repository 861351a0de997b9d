"""The shapes of vehicles: outlines in shares of length and height, and where things sit on them.

A body is one or two hulls. A hull is a side view extruded across the vehicle: its rear and front
are chains of (share of the length from the rear, share of the height), each from bottom to top.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from numpy.random import Generator

from vehicle_lightning.synthetic.canvas import Point
from vehicle_lightning.synthetic.rng import between

Spot = tuple[float, float]
Shape = tuple[Spot, ...]
Span = tuple[float, float]


@dataclass(frozen=True)
class Hull:
    """A side view extruded across the vehicle, in shares of the size of the body."""

    rear: Shape
    front: Shape
    waist: float = 0.6  # share of the height above which the sides lean in
    lean: float = 0.05  # share of the width lost between waist and roof
    corner: float = 0.05  # share of the width lost at the rounded ends
    narrowing: float = 1.0  # share of the width of the body

    @cached_property
    def span(self) -> Span:
        """Where the hull begins and ends along the body."""
        return min(u for u, _ in self.rear), max(u for u, _ in self.front)

    @cached_property
    def outline(self) -> Shape:
        """The side view, counter-clockwise when the front is at the right."""
        return self.front + self.rear[::-1]

    @cached_property
    def roof(self) -> float:
        """Share of the height of the roof."""
        return self.rear[-1][1]


@dataclass(frozen=True)
class Body:
    """Sizes in metres; everything else in shares of length (u), half width (v) and height (w)."""

    length: float
    width: float
    height: float
    hulls: tuple[Hull, ...]  # from the rear to the front
    wheels: tuple[float, ...]  # u of each axle
    wheel_radius: float  # metres
    windscreen: Span  # w
    rear_window: Span | None  # w
    glass: tuple[Shape, ...]  # side windows
    doors: tuple[float, ...]  # u of the gaps between the panels
    panel: Span  # w of the painted side that stripes and chequers may use
    sign: tuple[Spot, Spot]  # the side's place for lettering: lower rear and upper front corner
    head_lamps: Span  # w
    bar: float  # u of a light bar or a sign on the roof
    shutters: Span | None = None  # u of the equipment lockers

    def at(self, hull: Hull, u: float, v: float, w: float) -> Point:
        """A place on a hull in metres; the middle of the body on the ground is the origin."""
        start, end = hull.span
        breadth = hull.narrowing
        if w > hull.waist:
            breadth *= 1.0 - hull.lean * (w - hull.waist) / (1.001 - hull.waist)
        near_end = max(start + 0.05 - u, u - end + 0.05)
        if near_end > 0:
            breadth *= 1.0 - hull.corner * near_end / 0.05
        return (u - 0.5) * self.length, 0.5 * self.width * v * breadth, w * self.height


# Of each kind of car: length, width, height and wheel radius in metres; (u, w) of the rear deck's
# front edge; u of the roof's ends; (u, w) of the windscreen's foot; w of the nose.
CARS: dict[str, tuple[float, float, float, float, Spot, Span, Spot, float]] = {
    "sedan": (4.75, 1.83, 1.46, 0.33, (0.15, 0.68), (0.31, 0.55), (0.72, 0.67), 0.5),
    "coupe": (4.4, 1.85, 1.27, 0.34, (0.10, 0.70), (0.36, 0.52), (0.70, 0.66), 0.46),
    "hatchback": (4.0, 1.74, 1.52, 0.31, (0.03, 0.64), (0.11, 0.57), (0.76, 0.66), 0.5),
    "estate": (4.8, 1.84, 1.5, 0.33, (0.02, 0.62), (0.09, 0.58), (0.73, 0.66), 0.5),
    "SUV": (4.85, 1.98, 1.85, 0.4, (0.02, 0.60), (0.07, 0.59), (0.71, 0.62), 0.54),
    "minivan": (4.8, 1.95, 1.78, 0.35, (0.02, 0.58), (0.06, 0.60), (0.82, 0.58), 0.46),
    "pick-up": (5.5, 1.98, 1.85, 0.41, (0.37, 0.59), (0.40, 0.61), (0.73, 0.62), 0.56),
    "classic": (4.9, 1.85, 1.5, 0.36, (0.22, 0.64), (0.36, 0.53), (0.64, 0.66), 0.6),
}


def car(rng: Generator, kind: str) -> Body:
    """One car of a kind, every one a little different."""
    length, width, height, radius, deck, roof, cowl, nose = CARS[kind]
    deck = deck[0] * between(rng, 0.8, 1.2), deck[1] + between(rng, -0.02, 0.03)
    roof = roof[0] + between(rng, -0.02, 0.03), roof[1] + between(rng, -0.03, 0.03)
    cowl = cowl[0] + between(rng, -0.02, 0.02), cowl[1] + between(rng, -0.015, 0.015)
    nose += between(rng, -0.04, 0.04)
    floor = 0.5 * radius / height * between(rng, 0.9, 1.3)
    rear = (
        (0.012, floor), (0.0, 0.42), (0.015, deck[1] - 0.05), (min(0.03, deck[0]), deck[1] - 0.01),
        deck, (roof[0], 0.965), (roof[0] + 0.07, 1.0),
    )  # fmt: skip
    front = (
        (0.985, floor), (1.0, nose - 0.14), (0.99, nose - 0.03), (0.96, nose + 0.04), cowl,
        (roof[1] + 0.05, 0.965), (roof[1], 1.0),
    )  # fmt: skip
    low, high = max(deck[1], cowl[1]) + 0.015, 0.94
    # The side windows fill a strip between the slanted pillars; upright pillars part it.
    back, top_back = deck[0] + 0.05, max(roof[0], deck[0]) + 0.04
    few = {"coupe": (), "pick-up": (0.56,), "classic": (0.48,), "sedan": (0.45,)}
    cuts = few.get(kind, (0.24, 0.45))
    edges = [(back, top_back), *((cut, cut) for cut in cuts), (cowl[0] - 0.04, roof[1] + 0.035)]
    glass = tuple(
        ((u0 + 0.01, low), (u1 - 0.01, low), (t1 - 0.01, high), (t0 + 0.01, high))
        for (u0, t0), (u1, t1) in pairwise(edges)
    )
    return Body(
        length * between(rng, 0.95, 1.05), width, height * between(rng, 0.96, 1.05),
        (Hull(rear, front, low, between(rng, 0.12, 0.22), between(rng, 0.08, 0.16)),),
        wheels=(0.19, 0.815), wheel_radius=radius, windscreen=(cowl[1] + 0.02, 0.95),
        rear_window=(deck[1] + 0.02, 0.93), glass=glass, doors=(*cuts, cowl[0] - 0.03),
        panel=(0.25, low - 0.04), sign=((0.29, 0.34), (0.7, low - 0.06)),
        head_lamps=(nose - 0.11, nose), bar=0.5 * sum(roof) + 0.02,
    )  # fmt: skip


def _window(u0: float, u1: float, w0: float, w1: float) -> Shape:
    return ((u0, w0), (u1, w0), (u1, w1), (u0, w1))


_CAB_FRONT = ((1.0, 0.13), (1.0, 0.45), (0.985, 0.49), (0.965, 0.86), (0.945, 0.92))

TALL = {
    "van": Body(
        5.4, 2.0, 2.4,
        (Hull(
            ((0.0, 0.15), (0.0, 0.9), (0.015, 0.98), (0.04, 1.0)),
            ((1.0, 0.13), (1.0, 0.33), (0.965, 0.43), (0.875, 0.51), (0.735, 0.92), (0.68, 1.0)),
            waist=0.5, lean=0.1,
        ),),
        wheels=(0.18, 0.82), wheel_radius=0.36, windscreen=(0.53, 0.89), rear_window=(0.56, 0.84),
        glass=(((0.66, 0.54), (0.845, 0.54), (0.75, 0.84), (0.66, 0.84)),),
        doors=(0.05, 0.42, 0.64, 0.86), panel=(0.2, 0.52), sign=((0.08, 0.54), (0.62, 0.86)),
        head_lamps=(0.33, 0.42), bar=0.63,
    ),
    "box van": Body(
        6.1, 2.2, 2.8,
        (
            Hull(((0.0, 0.15), (0.0, 1.0)), ((0.665, 0.15), (0.675, 1.0)), lean=0.0, corner=0.02),
            Hull(
                ((0.63, 0.12), (0.63, 0.76)),
                ((1.0, 0.12), (1.0, 0.28), (0.97, 0.37), (0.89, 0.43), (0.785, 0.72), (0.75, 0.76)),
                waist=0.42, lean=0.08, narrowing=0.92,
            ),
        ),
        wheels=(0.22, 0.84), wheel_radius=0.37, windscreen=(0.45, 0.70), rear_window=(0.55, 0.8),
        glass=(((0.70, 0.46), (0.865, 0.46), (0.785, 0.68), (0.70, 0.68)),),
        doors=(0.69, 0.88), panel=(0.2, 0.5), sign=((0.06, 0.56), (0.62, 0.88)),
        head_lamps=(0.28, 0.36), bar=0.71,
    ),
    "lorry": Body(
        7.6, 2.45, 3.2,
        (
            Hull(((0.0, 0.3), (0.0, 1.0)), ((0.73, 0.3), (0.73, 1.0)), lean=0.0, corner=0.01),
            Hull(((0.755, 0.13), (0.755, 0.90)), _CAB_FRONT, narrowing=0.96),
        ),
        wheels=(0.2, 0.88), wheel_radius=0.5, windscreen=(0.51, 0.82), rear_window=None,
        glass=(_window(0.80, 0.95, 0.52, 0.8),),
        doors=(0.79, 0.965), panel=(0.34, 0.5), sign=((0.06, 0.52), (0.68, 0.9)),
        head_lamps=(0.2, 0.28), bar=0.86,
    ),
    "fire engine": Body(
        7.4, 2.45, 3.0,
        (
            Hull(((0.0, 0.17), (0.0, 0.97)), ((0.56, 0.17), (0.56, 0.97)), lean=0.0, corner=0.02),
            Hull(((0.565, 0.13), (0.565, 0.92)), _CAB_FRONT, narrowing=0.98),
        ),
        wheels=(0.21, 0.82), wheel_radius=0.5, windscreen=(0.51, 0.83), rear_window=None,
        glass=(_window(0.60, 0.73, 0.53, 0.82), _window(0.76, 0.95, 0.52, 0.82)),
        doors=(0.59, 0.745, 0.965), panel=(0.22, 0.48), sign=((0.60, 0.28), (0.95, 0.48)),
        head_lamps=(0.2, 0.29), bar=0.86, shutters=(0.03, 0.55),
    ),
}  # fmt: skip


def build(rng: Generator, kind: str) -> Body:
    """One vehicle of a kind, every one a little different."""
    if kind in CARS:
        return car(rng, kind)
    body = TALL[kind]
    length, height = body.length * between(rng, 0.85, 1.08), body.height * between(rng, 0.93, 1.07)
    return replace(body, length=length, height=height)
