"""Draws one vehicle: shadow, wheels, painted hulls, windows, lamps, markings, what is on the roof.

Painting runs from far to near, so nothing needs a depth buffer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vehicle_lightning.synthetic.drawing.bodies import Body, Hull, Shape
from vehicle_lightning.synthetic.drawing.camera import Point
from vehicle_lightning.synthetic.drawing.canvas import Brush, Colour
from vehicle_lightning.synthetic.drawing.markings import Chevrons, RoofItem, SideMarking, Words
from vehicle_lightning.synthetic.drawing.panels import Panel, end_panel, side_panel

TYRE: Colour = (26, 26, 28)
DARK: Colour = (34, 35, 38)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Vehicle:
    """A body with its paint, its markings, and its lamps."""

    body: Body
    paint: Colour
    trim: Colour  # bumpers and sills
    glass: Colour
    rim: Colour
    plate: Colour
    spokes: int
    side: tuple[SideMarking, ...] = ()
    side_words: tuple[Words, ...] = ()
    front_words: tuple[Words, ...] = ()
    rear_words: tuple[Words, ...] = ()
    chevrons: Chevrons | None = None
    roof: tuple[tuple[float, RoofItem], ...] = ()  # (u along the body, item)
    grille_lamps: Colour | None = None
    head_lamps_on: bool = False
    brake_lamps_on: bool = False


def draw_vehicle(vehicle: Vehicle, brush: Brush) -> None:
    """Draw it standing at the origin of the brush, heading along x."""
    body = vehicle.body
    _shadow(brush, body)
    if vehicle.head_lamps_on and brush.canvas.light.lamps_on:
        _beams(brush, body)
    _running_gear(brush, body)
    for hull in body.hulls if brush.view.eye[0] > 0 else body.hulls[::-1]:
        seen, hidden = _roof_items(brush, vehicle, hull)
        for u, item in hidden:
            _on_roof(brush, body, hull, u, item)
        _hull(brush, vehicle, hull)
        for u, item in seen:
            _on_roof(brush, body, hull, u, item)
    _mirrors(brush, body, vehicle.trim)


RoofItems = list[tuple[float, RoofItem]]


def _roof_items(brush: Brush, vehicle: Vehicle, hull: Hull) -> tuple[RoofItems, RoofItems]:
    """What is on the roof of a hull: seen from above it, or from below, half hidden by its edge."""
    body = vehicle.body
    roof = hull.rear[-1][1]
    items = [
        (u, item)
        for u, item in vehicle.roof
        if hull.span[0] <= u <= hull.span[1] and roof == body.roof(u)
    ]
    return (items, []) if brush.view.eye[2] > roof * body.height else ([], items)


def _on_roof(brush: Brush, body: Body, hull: Hull, u: float, item: RoofItem) -> None:
    x, half_width, z = body.at(hull, u, 1.0, body.roof(u))
    glows = brush.canvas.glows
    before = len(glows)
    item.on_roof(brush, x, z, half_width)
    if brush.view.eye[0] < 0 and z < 0.85 * body.height and z < brush.view.eye[2] + 1.0:
        del glows[before:]  # a higher load space stands between the lamps and the camera


def _beams(brush: Brush, body: Body) -> None:
    """The road in front, lit by the head lamps."""
    front = 0.5 * body.length
    for reach, alpha in ((3.5, 0.1), (6.0, 0.1), (9.0, 0.08)):
        side = 0.5 * body.width + 0.1 * reach
        corners = ((front, -0.5), (front + reach, -side), (front + reach, side), (front, 0.5))
        brush.veil([(x, y, 0.0) for x, y in corners], (255, 244, 210), alpha)


def _shadow(brush: Brush, body: Body) -> None:
    """A soft pool under the vehicle, and the shadow that the sun casts."""
    length, width = 0.5 * body.length, 0.5 * body.width
    sun = brush.view.sun
    strength = sum(brush.canvas.light.sunshine) / 3
    if strength > 0.2:
        reach = min(1.6, 0.8 * body.height / max(sun[2], 0.2))
        dx, dy = -sun[0] * reach, -sun[1] * reach
        corners = [(sx * length, sy * width) for sx in (-1, 1) for sy in (-1, 1)]
        spots = corners + [(x + dx, y + dy) for x, y in corners]
        brush.fill([(x, y, 0.0) for x, y in _hull_of(spots)], BLACK, min(0.45, 0.5 * strength))
    for grow, alpha in ((0.35, 0.12), (0.2, 0.16), (0.08, 0.22), (-0.05, 0.35)):
        x, y, cut = length + grow, width + grow, 0.25 + grow
        ring = (
            (x - cut, y), (x, y - cut), (x, cut - y), (x - cut, -y),
            (cut - x, -y), (-x, cut - y), (-x, y - cut), (cut - x, y),
        )  # fmt: skip
        brush.fill([(a, b, 0.0) for a, b in ring], BLACK, alpha)


def _hull_of(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The convex hull of a few spots (Andrew's monotone chain)."""

    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    ordered = sorted(spots)
    return half(ordered) + half(ordered[::-1])


def _disc(x: float, y: float, z: float, radius: float, sides: int = 18) -> list[Point]:
    """A wheel-like circle in an upright plane along the vehicle."""
    angles = (2 * math.pi * i / sides for i in range(sides))
    return [(x + radius * math.cos(a), y, z + radius * math.sin(a)) for a in angles]


def _running_gear(brush: Brush, body: Body) -> None:
    """The dark underside, and the treads of all tyres as far as they show below the body."""
    half, radius = 0.5 * body.width, body.wheel_radius
    low = 0.45 * radius
    brush.box(
        (-0.47 * body.length, -0.8 * half, low),
        (0.47 * body.length, 0.8 * half, 1.4 * radius),
        (18, 18, 20),
    )
    near = math.copysign(1.0, brush.view.eye[1])
    for side in (-near, near):
        for axle in body.wheels:
            x = (axle - 0.5) * body.length
            for inset in (0.24, 0.13, 0.03):
                brush.fill(_disc(x, side * (half - inset), radius, radius, 12), TYRE)


def _hull(brush: Brush, vehicle: Vehicle, hull: Hull) -> None:
    body = vehicle.body
    top = (hull.rear[-1], hull.front[-1])
    brush.face(
        [body.at(hull, u, v, w) for (u, w), v in zip(top + top[::-1], (-1, -1, 1, 1), strict=True)],
        vehicle.paint,
    )
    for chain, sign in ((hull.front, 1.0), (hull.rear, -1.0)):
        for (u0, w0), (u1, w1) in zip(chain[-2::-1], chain[:0:-1], strict=True):
            strip = [(u0, -sign, w0), (u0, sign, w0), (u1, sign, w1), (u1, -sign, w1)]
            floor = u1 - u0 > 0.25  # the bed of a pick-up
            colour = DARK if floor else vehicle.paint
            brush.face([body.at(hull, *corner) for corner in strip], colour)
    if hull is body.hulls[0]:
        _rear(end_panel(brush, body, hull, hull.rear, mirrored=True), vehicle)
    if hull is body.hulls[-1]:
        _front(end_panel(brush, body, hull, hull.front, mirrored=False), vehicle)
    side = math.copysign(1.0, brush.view.eye[1])
    if abs(brush.view.eye[1]) > 0.5 * body.width:
        _side(side_panel(brush, body, hull, side), vehicle, hull, side)


def _window(panel: Panel, shape: Shape, glass: Colour) -> None:
    """A pane that mirrors the sky in its upper part."""
    panel.fill(shape, glass)
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = shape
    middle = ((x0 + x3) / 2, (y0 + y3) / 2), ((x1 + x2) / 2, (y1 + y2) / 2)
    panel.fill((middle[0], middle[1], (x2, y2), (x3, y3)), WHITE, 0.16)
    streak = 0.3 * (x1 - x0)
    panel.fill(
        ((x0 + streak, y0), (x0 + 1.5 * streak, y0), (x3 + 2.1 * streak, y3), (x3 + streak, y3)),
        WHITE,
        0.1,
    )


def _pane(width: float, low: float, high: float) -> Shape:
    return ((-width, low), (width, low), (0.97 * width, high), (-0.97 * width, high))


def _front(panel: Panel, vehicle: Vehicle) -> None:
    body = vehicle.body
    bottom = panel.outline[0][1]
    low, high = body.head_lamps
    lift = high - low
    panel.rectangle((-1, bottom), (1, low - 0.25 * lift), vehicle.trim)
    for edge, alpha in ((0.5, 0.1), (0.75, 0.12)):
        panel.rectangle((-1, bottom), (1, bottom + edge * (low - bottom)), BLACK, alpha)
    panel.rectangle((-0.55, low - 0.6 * lift), (0.55, low + 0.75 * lift), DARK)
    for bar in (0.1, 0.5):
        w = low - 0.6 * lift + bar * 1.35 * lift
        panel.rectangle((-0.5, w), (0.5, w + 0.12 * lift), (120, 122, 126))
    panel.rectangle((-0.28, bottom + 0.01), (0.28, bottom + 0.01 + 0.45 * lift), vehicle.plate)
    for side in (-1.0, 1.0):
        shape = ((0.6 * side, low), (0.94 * side, low + 0.1 * lift), (0.94 * side, high))
        panel.fill((*shape, (0.62 * side, high - 0.15 * lift)), (205, 212, 220))
        spot = panel.place(0.78 * side, low + 0.5 * lift)
        if vehicle.head_lamps_on and panel.brush.view.eye[0] > spot[0]:
            panel.brush.lamp(spot, 0.11, (255, 250, 225))
            panel.brush.glow(spot, 0.5, (150, 145, 120))
        if vehicle.grille_lamps:
            at = (0.3 * side, low + 0.1 * lift)
            panel.rectangle(
                (at[0] - 0.1, at[1]), (at[0] + 0.1, at[1] + 0.4 * lift), vehicle.grille_lamps
            )
    _window(panel, _pane(0.9, *body.windscreen), vehicle.glass)
    w0, w1 = body.windscreen
    for seat in (-0.45, 0.45):
        panel.rectangle((seat - 0.16, w0), (seat + 0.16, w0 + 0.55 * (w1 - w0)), BLACK, 0.3)
    for words in vehicle.front_words:
        words.on_panel(panel)


def _rear(panel: Panel, vehicle: Vehicle) -> None:
    body = vehicle.body
    bottom = panel.outline[0][1]
    low, high = body.tail_lamps
    panel.rectangle((-1, bottom), (1, bottom + 0.35 * (low - bottom)), vehicle.trim)
    if vehicle.chevrons:
        vehicle.chevrons.on_rear(panel)
    if body.rear_window:
        if body.height > 2.1 and body.length < 7:  # two doors with a window each
            for side in (-1.0, 1.0):
                w0, w1 = body.rear_window
                pane = ((0.1 * side, w0), (0.85 * side, w0), (0.82 * side, w1), (0.1 * side, w1))
                _window(panel, pane, vehicle.glass)
        else:
            _window(panel, _pane(0.84, *body.rear_window), vehicle.glass)
    elif body.height > 2.7 and panel.brush.view.eye[0] < -0.5 * body.length:
        panel.line(((0.0, bottom + 0.03), (0.0, 0.95)), DARK, 0.03, 0.7)
        for side in (-0.55, 0.55):
            panel.line(((side, bottom + 0.05), (side, 0.93)), (120, 120, 124), 0.04, 0.8)
    lamp = (255, 60, 40) if vehicle.brake_lamps_on else (170, 22, 24)
    for side in (-1.0, 1.0):
        panel.fill(
            ((0.72 * side, low), (0.97 * side, low), (0.97 * side, high), (0.78 * side, high)), lamp
        )
        spot = panel.place(0.85 * side, 0.5 * (low + high))
        if vehicle.brake_lamps_on and panel.brush.view.eye[0] < spot[0]:
            panel.brush.lamp(spot, 0.08, (255, 90, 60))
            panel.brush.glow(spot, 0.3, (170, 20, 15))
    plate = bottom + 0.4 * (low - bottom)
    panel.rectangle((-0.26, plate), (0.26, plate + 0.11 / body.height), vehicle.plate)
    for words in vehicle.rear_words:
        words.on_panel(panel)


def _side(panel: Panel, vehicle: Vehicle, hull: Hull, side: float) -> None:
    body = vehicle.body
    start, end = panel.reach
    panel.fill(panel.outline, vehicle.paint)
    for marking in vehicle.side:
        marking.on_side(panel)
    bottom, top = hull.rear[0][1], max(w for _, w in hull.outline)
    panel.trim(_slab(bottom - 0.1, bottom + 0.05), vehicle.trim)
    _shading(panel, bottom, top)
    for gap in body.doors if _is_near(panel.brush, body) else ():
        if start + 0.01 < gap < end - 0.01:
            roof = 0.93 * top if gap < body.doors[-1] else body.windscreen[0]
            panel.line(((gap, bottom + 0.04), (gap, roof)), BLACK, 0.018, 0.45)
    for words in vehicle.side_words:
        if start <= words.low[0] < end:
            words.on_panel(panel)
    for pane in body.glass:
        if start <= pane[0][0] < end:
            _window(panel, pane, vehicle.glass)
    across, up = body.wheel_radius / body.length, body.wheel_radius / body.height
    for axle in body.wheels:
        arch = tuple((axle + 1.2 * across * a, up + 1.2 * up * b) for a, b in _circle(16))
        panel.trim(arch, (16, 16, 18))
        if start <= axle < end:
            _wheel(panel.brush, vehicle, (axle - 0.5) * body.length, side)


def _circle(sides: int) -> Shape:
    return tuple(
        (math.cos(2 * math.pi * i / sides), math.sin(2 * math.pi * i / sides)) for i in range(sides)
    )


def _slab(low: float, high: float) -> Shape:
    return ((-0.2, low), (1.2, low), (1.2, high), (-0.2, high))


def _is_near(brush: Brush, body: Body) -> bool:
    """Whether small details are large enough to be seen."""
    distance = brush.view.depth((0.0, 0.0, 0.0))
    return brush.view.focal * body.height > 0.07 * brush.canvas.size * distance


def _shading(panel: Panel, bottom: float, top: float) -> None:
    """Darker towards the ground, a bright shoulder that mirrors the sky."""
    height = top - bottom
    for share, alpha in ((0.12, 0.14), (0.26, 0.12), (0.42, 0.1)):
        panel.trim(_slab(bottom - 0.01, bottom + share * height), BLACK, alpha)
    for low, high, alpha in ((0.46, 0.56, 0.12), (0.9, 1.0, 0.1)):
        panel.trim(_slab(bottom + low * height, bottom + high * height), WHITE, alpha)


def _wheel(brush: Brush, vehicle: Vehicle, x: float, side: float) -> None:
    radius = vehicle.body.wheel_radius
    y = side * (0.5 * vehicle.body.width - 0.02)
    brush.fill(_disc(x, y, radius, radius), TYRE)
    brush.fill(_disc(x, y, radius, 0.64 * radius), vehicle.rim)
    if not _is_near(brush, vehicle.body):
        return
    for spoke in range(vehicle.spokes):
        angle = 2 * math.pi * spoke / vehicle.spokes
        gap = 0.55 * math.pi / vehicle.spokes
        wedge = [(0.24, angle), (0.56, angle - gap), (0.56, angle + gap)]
        brush.fill(
            [
                (x + r * radius * math.cos(a), y, radius + r * radius * math.sin(a))
                for r, a in wedge
            ],
            (48, 48, 52),
        )
    brush.fill(_disc(x, y, radius, 0.16 * radius, 8), (90, 92, 96))


def _mirrors(brush: Brush, body: Body, colour: Colour) -> None:
    hull = body.hulls[-1]
    w0, w1 = body.windscreen
    w = w0 + 0.15 * (w1 - w0)
    u = body.glass[-1][1][0] - 0.02
    size = 0.07 * min(body.height, 2.4)
    for side in (-1.0, 1.0):
        x, y, z = body.at(hull, u, side, w)
        inner, outer = sorted((y, y + 1.5 * size * side))
        brush.box((x - 0.06, inner, z), (x + 0.06, outer, z + 1.2 * size), colour)
