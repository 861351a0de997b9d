"""The shapes of vehicles: outlines in shares of length and height, and where things sit on them.

A body is one or two hulls. A hull is a side view extruded across the vehicle: its front and rear
are chains of (share of the length from the rear, share of the height), each from bottom to top.
"""

from dataclasses import dataclass
from functools import cached_property

from vehicle_lightning.synthetic.drawing.camera import Point

Spot = tuple[float, float]
Shape = tuple[Spot, ...]
Span = tuple[float, float]


@dataclass(frozen=True)
class Hull:
    """A side view extruded across the vehicle, in shares of the size of the body."""

    rear: Shape
    front: Shape
    waist: float = 1.0  # share of the height above which the sides lean in
    lean: float = 0.0  # share of the width lost between waist and roof
    corner: float = 0.08  # share of the width lost at the rounded ends
    narrowing: float = 1.0  # share of the width of the body

    @cached_property
    def span(self) -> Span:
        """Where the hull begins and ends along the body."""
        return min(u for u, _ in self.rear), max(u for u, _ in self.front)

    @cached_property
    def outline(self) -> Shape:
        """The side view, clockwise from the lower rear corner when the front is at the right."""
        return self.rear + self.front[::-1]

    def breadth(self, u: float, w: float) -> float:
        """Share of the half width of the body at a place along the length and height."""
        start, end = self.span
        near_end = max(0.0, start + 0.05 - u, u - end + 0.05) / 0.05
        leaning = self.lean * max(0.0, (w - self.waist) / (1.001 - self.waist))
        return self.narrowing * (1.0 - leaning) * (1.0 - self.corner * near_end)


@dataclass(frozen=True)
class Body:
    """Sizes in metres; everything else in shares of length (u), half width (v) and height (w)."""

    name: str
    length: float
    width: float
    height: float
    hulls: tuple[Hull, ...]  # from the rear to the front
    wheels: tuple[float, ...]  # u of each axle
    wheel_radius: float  # metres
    windscreen: Span  # w
    rear_window: Span | None
    glass: tuple[Shape, ...]  # side windows
    doors: tuple[float, ...]  # u of the gaps between the panels
    panel: Span  # w of the painted side that stripes and chequers may use
    sign: tuple[Spot, Spot]  # the side's place for lettering: lower rear and upper front corner
    front_sign: Span  # w of the front's place for lettering
    rear_sign: Span  # w of the rear's place for lettering, and for chevrons
    head_lamps: Span  # w
    tail_lamps: Span  # w
    bar: float  # u of a light bar or a sign on the roof

    def at(self, hull: Hull, u: float, v: float, w: float) -> Point:
        """A place on a hull in metres; the middle of the body on the ground is the origin."""
        half = 0.5 * self.width * hull.breadth(u, w)
        return (u - 0.5) * self.length, v * half, w * self.height

    def roof(self, u: float) -> float:
        """Share of the height of the roof at a place along the length."""
        tops = [h.rear[-1][1] for h in self.hulls if h.span[0] <= u <= h.span[1]]
        return max(tops, default=1.0)


def _window(u0: float, u1: float, w0: float, w1: float, rake: float = 0.0) -> Shape:
    """A side window, its upper front corner moved back by `rake`."""
    return ((u0, w0), (u1, w0), (u1 - rake, w1), (u0, w1))


_CAR_GLASS_FRONT = ((0.43, 0.68), (0.70, 0.68), (0.55, 0.94), (0.43, 0.955))
_CAB_FRONT = ((1.0, 0.13), (1.0, 0.45), (0.985, 0.49), (0.96, 0.86), (0.945, 0.90))

SEDAN = Body(
    "sedan", 4.7, 1.82, 1.46,
    (Hull(
        ((0.0, 0.19), (0.0, 0.47), (0.02, 0.65), (0.16, 0.69), (0.31, 0.965), (0.38, 1.0)),
        ((1.0, 0.17), (1.0, 0.40), (0.965, 0.54), (0.73, 0.665), (0.565, 0.96), (0.49, 1.0)),
        waist=0.66, lean=0.22, corner=0.14,
    ),),
    wheels=(0.19, 0.81), wheel_radius=0.33, windscreen=(0.68, 0.95), rear_window=(0.71, 0.95),
    glass=(((0.20, 0.69), (0.41, 0.68), (0.41, 0.955), (0.32, 0.93)), _CAR_GLASS_FRONT),
    doors=(0.24, 0.42, 0.67), panel=(0.27, 0.63), sign=((0.27, 0.36), (0.67, 0.60)),
    front_sign=(0.56, 0.64), rear_sign=(0.46, 0.62), head_lamps=(0.40, 0.50),
    tail_lamps=(0.47, 0.60), bar=0.45,
)  # fmt: skip

HATCHBACK = Body(
    "hatchback", 4.1, 1.78, 1.5,
    (Hull(
        ((0.0, 0.2), (0.0, 0.46), (0.02, 0.64), (0.09, 0.92), (0.14, 0.985), (0.3, 1.0)),
        ((1.0, 0.17), (1.0, 0.41), (0.96, 0.55), (0.75, 0.665), (0.57, 0.96), (0.5, 1.0)),
        waist=0.66, lean=0.2, corner=0.14,
    ),),
    wheels=(0.18, 0.81), wheel_radius=0.32, windscreen=(0.68, 0.95), rear_window=(0.67, 0.91),
    glass=(
        ((0.08, 0.69), (0.22, 0.68), (0.22, 0.94), (0.14, 0.92)),
        _window(0.24, 0.42, 0.68, 0.955),
        ((0.44, 0.68), (0.72, 0.68), (0.56, 0.94), (0.44, 0.955)),
    ),
    doors=(0.23, 0.43, 0.69), panel=(0.27, 0.63), sign=((0.26, 0.36), (0.68, 0.60)),
    front_sign=(0.57, 0.65), rear_sign=(0.36, 0.60), head_lamps=(0.41, 0.52),
    tail_lamps=(0.50, 0.68), bar=0.43,
)  # fmt: skip

ESTATE = Body(
    "estate", 4.75, 1.84, 1.5,
    (Hull(
        ((0.0, 0.19), (0.0, 0.45), (0.015, 0.64), (0.07, 0.92), (0.12, 0.985), (0.3, 1.0)),
        ((1.0, 0.17), (1.0, 0.40), (0.965, 0.54), (0.74, 0.665), (0.585, 0.96), (0.51, 1.0)),
        waist=0.66, lean=0.2, corner=0.14,
    ),),
    wheels=(0.19, 0.81), wheel_radius=0.33, windscreen=(0.68, 0.95), rear_window=(0.67, 0.91),
    glass=(
        ((0.07, 0.69), (0.23, 0.68), (0.23, 0.95), (0.11, 0.92)),
        _window(0.25, 0.43, 0.68, 0.955),
        ((0.45, 0.68), (0.72, 0.68), (0.57, 0.94), (0.45, 0.955)),
    ),
    doors=(0.24, 0.44, 0.69), panel=(0.27, 0.63), sign=((0.27, 0.36), (0.68, 0.60)),
    front_sign=(0.56, 0.64), rear_sign=(0.34, 0.60), head_lamps=(0.40, 0.50),
    tail_lamps=(0.48, 0.70), bar=0.45,
)  # fmt: skip

SUV = Body(
    "SUV", 4.75, 1.94, 1.82,
    (Hull(
        ((0.0, 0.2), (0.0, 0.5), (0.015, 0.63), (0.05, 0.93), (0.09, 0.985), (0.3, 1.0)),
        ((1.0, 0.18), (1.0, 0.46), (0.97, 0.58), (0.745, 0.64), (0.62, 0.95), (0.55, 1.0)),
        waist=0.63, lean=0.15, corner=0.1,
    ),),
    wheels=(0.19, 0.81), wheel_radius=0.39, windscreen=(0.66, 0.94), rear_window=(0.66, 0.91),
    glass=(
        ((0.06, 0.67), (0.23, 0.66), (0.23, 0.94), (0.09, 0.93)),
        _window(0.25, 0.45, 0.66, 0.95),
        ((0.47, 0.66), (0.72, 0.66), (0.61, 0.93), (0.47, 0.95)),
    ),
    doors=(0.24, 0.46, 0.70), panel=(0.27, 0.61), sign=((0.27, 0.36), (0.69, 0.58)),
    front_sign=(0.58, 0.635), rear_sign=(0.34, 0.60), head_lamps=(0.44, 0.54),
    tail_lamps=(0.48, 0.68), bar=0.47,
)  # fmt: skip

PICKUP = Body(
    "pick-up", 5.3, 1.9, 1.82,
    (Hull(
        ((0.0, 0.26), (0.0, 0.58), (0.37, 0.60), (0.385, 0.94), (0.41, 1.0)),
        ((1.0, 0.22), (1.0, 0.46), (0.975, 0.58), (0.755, 0.63), (0.65, 0.95), (0.6, 1.0)),
        waist=0.62, lean=0.14, corner=0.08,
    ),),
    wheels=(0.19, 0.82), wheel_radius=0.4, windscreen=(0.65, 0.94), rear_window=(0.66, 0.90),
    glass=(
        ((0.40, 0.66), (0.52, 0.65), (0.52, 0.94), (0.405, 0.93)),
        ((0.54, 0.65), (0.73, 0.65), (0.64, 0.93), (0.54, 0.94)),
    ),
    doors=(0.385, 0.53, 0.71), panel=(0.29, 0.57), sign=((0.40, 0.36), (0.71, 0.58)),
    front_sign=(0.58, 0.625), rear_sign=(0.36, 0.56), head_lamps=(0.44, 0.54),
    tail_lamps=(0.36, 0.56), bar=0.5,
)  # fmt: skip

VAN = Body(
    "van", 5.4, 2.0, 2.4,
    (Hull(
        ((0.0, 0.15), (0.0, 0.9), (0.015, 0.98), (0.04, 1.0)),
        ((1.0, 0.13), (1.0, 0.33), (0.965, 0.43), (0.875, 0.51), (0.735, 0.92), (0.68, 1.0)),
        waist=0.5, lean=0.1, corner=0.05,
    ),),
    wheels=(0.18, 0.82), wheel_radius=0.35, windscreen=(0.53, 0.89), rear_window=(0.56, 0.84),
    glass=(((0.66, 0.54), (0.845, 0.54), (0.75, 0.84), (0.66, 0.84)),),
    doors=(0.05, 0.42, 0.64, 0.86), panel=(0.2, 0.49), sign=((0.08, 0.52), (0.62, 0.86)),
    front_sign=(0.43, 0.50), rear_sign=(0.2, 0.54), head_lamps=(0.33, 0.42),
    tail_lamps=(0.3, 0.5), bar=0.63,
)  # fmt: skip

MINIBUS = Body(
    "minibus", 5.4, 2.0, 2.3, VAN.hulls,
    wheels=(0.18, 0.82), wheel_radius=0.35, windscreen=(0.53, 0.89), rear_window=(0.56, 0.84),
    glass=(_window(0.06, 0.32, 0.55, 0.84), _window(0.35, 0.62, 0.55, 0.84), VAN.glass[0]),
    doors=(0.335, 0.64, 0.86), panel=(0.2, 0.52), sign=((0.3, 0.3), (0.84, 0.48)),
    front_sign=(0.43, 0.50), rear_sign=(0.2, 0.54), head_lamps=(0.33, 0.42),
    tail_lamps=(0.3, 0.5), bar=0.63,
)  # fmt: skip

BOX_VAN = Body(
    "box van", 6.1, 2.2, 2.85,
    (
        Hull(((0.0, 0.15), (0.0, 1.0)), ((0.665, 0.15), (0.675, 1.0)), corner=0.02),
        Hull(
            ((0.63, 0.12), (0.63, 0.76)),
            ((1.0, 0.12), (1.0, 0.28), (0.97, 0.37), (0.89, 0.43), (0.785, 0.72), (0.75, 0.76)),
            waist=0.42, lean=0.08, corner=0.05, narrowing=0.92,
        ),
    ),
    wheels=(0.22, 0.84), wheel_radius=0.36, windscreen=(0.45, 0.70), rear_window=None,
    glass=(((0.70, 0.46), (0.865, 0.46), (0.785, 0.68), (0.70, 0.68)),),
    doors=(0.69, 0.88), panel=(0.2, 0.44), sign=((0.06, 0.5), (0.62, 0.88)),
    front_sign=(0.37, 0.425), rear_sign=(0.18, 0.56), head_lamps=(0.28, 0.36),
    tail_lamps=(0.18, 0.24), bar=0.71,
)  # fmt: skip

LORRY = Body(
    "lorry", 7.8, 2.45, 3.3,
    (
        Hull(((0.0, 0.3), (0.0, 1.0)), ((0.755, 0.3), (0.755, 1.0)), corner=0.01),
        Hull(((0.775, 0.13), (0.775, 0.90)), _CAB_FRONT, corner=0.05, narrowing=0.96),
    ),
    wheels=(0.2, 0.88), wheel_radius=0.5, windscreen=(0.51, 0.82), rear_window=None,
    glass=(((0.81, 0.52), (0.965, 0.52), (0.945, 0.8), (0.81, 0.8)),),
    doors=(0.80, 0.97), panel=(0.34, 0.5), sign=((0.06, 0.52), (0.70, 0.9)),
    front_sign=(0.40, 0.48), rear_sign=(0.34, 0.62), head_lamps=(0.2, 0.27),
    tail_lamps=(0.31, 0.35), bar=0.87,
)  # fmt: skip

FLATBED = Body(
    "flatbed", 6.6, 2.3, 2.6,
    (
        Hull(((0.0, 0.32), (0.0, 0.52)), ((0.69, 0.32), (0.69, 0.52)), corner=0.0),
        Hull(
            ((0.70, 0.15), (0.70, 0.96), (0.72, 1.0)),
            ((1.0, 0.14), (1.0, 0.47), (0.98, 0.52), (0.94, 0.93), (0.91, 1.0)),
            corner=0.05, narrowing=0.94,
        ),
    ),
    wheels=(0.2, 0.86), wheel_radius=0.42, windscreen=(0.55, 0.90), rear_window=None,
    glass=(((0.745, 0.56), (0.955, 0.56), (0.93, 0.88), (0.745, 0.88)),),
    doors=(0.73, 0.965), panel=(0.34, 0.5), sign=((0.73, 0.34), (0.95, 0.52)),
    front_sign=(0.42, 0.51), rear_sign=(0.33, 0.51), head_lamps=(0.22, 0.31),
    tail_lamps=(0.33, 0.38), bar=0.82,
)  # fmt: skip

FIRE_ENGINE = Body(
    "fire engine", 7.8, 2.45, 3.0,
    (
        Hull(((0.0, 0.17), (0.0, 0.97)), ((0.56, 0.17), (0.56, 0.97)), corner=0.02),
        Hull(((0.57, 0.13), (0.57, 0.90)), _CAB_FRONT, corner=0.06, narrowing=0.98),
    ),
    wheels=(0.21, 0.82), wheel_radius=0.5, windscreen=(0.51, 0.83), rear_window=None,
    glass=(
        _window(0.60, 0.73, 0.53, 0.82),
        ((0.76, 0.52), (0.965, 0.52), (0.945, 0.82), (0.76, 0.82)),
    ),
    doors=(0.595, 0.745, 0.97), panel=(0.26, 0.46), sign=((0.60, 0.30), (0.95, 0.50)),
    front_sign=(0.40, 0.48), rear_sign=(0.2, 0.72), head_lamps=(0.2, 0.28),
    tail_lamps=(0.2, 0.3), bar=0.86,
)  # fmt: skip

BUS = Body(
    "bus", 10.8, 2.5, 3.05,
    (Hull(
        ((0.0, 0.12), (0.0, 0.88), (0.008, 0.98), (0.02, 1.0)),
        ((1.0, 0.11), (1.0, 0.38), (0.99, 0.93), (0.975, 1.0)),
        waist=0.45, lean=0.03, corner=0.05,
    ),),
    wheels=(0.24, 0.78), wheel_radius=0.48, windscreen=(0.36, 0.82), rear_window=(0.5, 0.8),
    glass=tuple(_window(0.03 + 0.118 * i, 0.138 + 0.118 * i, 0.46, 0.8) for i in range(8)),
    doors=(0.50, 0.60, 0.87, 0.97), panel=(0.16, 0.44), sign=((0.3, 0.22), (0.7, 0.42)),
    front_sign=(0.84, 0.94), rear_sign=(0.2, 0.46), head_lamps=(0.17, 0.24),
    tail_lamps=(0.2, 0.36), bar=0.9,
)  # fmt: skip

BODIES = {
    body.name: body
    for body in (
        SEDAN, HATCHBACK, ESTATE, SUV, PICKUP, VAN, MINIBUS, BOX_VAN, LORRY, FLATBED, FIRE_ENGINE,
        BUS,
    )
}  # fmt: skip
