"""Paints one vehicle: shadow, wheels, hulls, windows, lamps, livery, and what is on its roof."""

import math

from numpy.random import Generator

from vehicle_lightning.synthetic.bodies import Hull, Shape, Span, Spot, build
from vehicle_lightning.synthetic.canvas import (
    BLACK,
    WHITE,
    Brush,
    Colour,
    Point,
    mixed,
    shaded,
)
from vehicle_lightning.synthetic.fleets import PAINTS, Fleet, mixed_paint
from vehicle_lightning.synthetic.panels import Panel, end_panel, side_panel
from vehicle_lightning.synthetic.rng import between, happens, pick, weighted

TYRE: Colour = (24, 24, 26)
DARK: Colour = (30, 31, 34)
CHROME: Colour = (196, 200, 206)
RED: Colour = (186, 30, 36)
BLUE: Colour = (34, 66, 182)
LENSES = {"blue": (BLUE, BLUE), "red": (RED, RED), "red-blue": (RED, BLUE)}
LENSES["amber"] = ((244, 140, 20), (244, 140, 20))
RIMS: tuple[Colour, ...] = ((190, 192, 196), (158, 160, 166), (84, 86, 90), (216, 217, 219))
PLATES: tuple[Colour, ...] = ((236, 236, 230), (240, 214, 90), (200, 214, 236))


class Vehicle:
    """One vehicle of a fleet, every one a little different."""

    def __init__(self, rng: Generator, fleet: Fleet) -> None:
        self.rng = rng
        self.fleet = fleet
        self.kind = weighted(rng, fleet.bodies)
        self.body = build(rng, self.kind)
        paint = weighted(rng, fleet.paints)
        self.paint = mixed_paint(rng, paint)
        main, second = weighted(rng, fleet.accents).split("/")
        if main == paint:  # a pattern in the colour of the paint would be invisible
            main, second = second, main
        self.accents = mixed_paint(rng, main), mixed_paint(rng, second)
        self.ink = PAINTS["white"] if sum(self.paint) < 360 else pick(rng, (DARK, self.accents[0]))
        self.pattern = weighted(rng, fleet.patterns)
        self.words = ""
        if fleet.words and happens(rng, fleet.lettered):
            self.words = weighted(rng, fleet.words)
        self.trim = (46, 47, 50) if happens(rng, 0.2) else shaded(self.paint, 0.8)
        self.chromed = self.kind == "classic" or happens(rng, 0.3)
        self.shutter = pick(rng, (CHROME, shaded(CHROME, 0.85), self.paint))
        self.rim, self.spokes = pick(rng, RIMS), int(rng.integers(5, 9))
        self.head_lamps_on = happens(rng, 0.15)

    def draw(self, brush: Brush) -> None:
        """Paint it standing at the origin of the brush, heading along x."""
        body = self.body
        # Glass and clear coat mirror the sky.
        self.glass = mixed((22, 25, 29), brush.light.shine, between(self.rng, 0.02, 0.3))
        self._shadow(brush)
        self._running_gear(brush)
        for hull in body.hulls if brush.eye[0] > 0 else body.hulls[::-1]:
            from_above = brush.eye[2] > hull.roof * body.height
            if hull is body.hulls[-1] and not from_above:
                self._roof(brush, hull)
            self._hull(brush, hull)
            if hull is body.hulls[-1] and from_above:
                self._roof(brush, hull)
        self._mirrors(brush)

    def _shadow(self, brush: Brush) -> None:
        length, width = 0.5 * self.body.length, 0.5 * self.body.width
        sun = brush.light.sun
        reach = min(1.5, 0.7 * self.body.height / max(sun[2], 0.2))
        dx, dy = -sun[0] * reach, -sun[1] * reach
        strength = min(0.5, 0.55 * sum(brush.light.sunshine) / 3)
        shadows = [
            (0.0, *spread) for spread in ((0.3, 0.1), (0.16, 0.2), (0.05, 0.3), (-0.05, 0.4))
        ]
        if strength > 0.1:
            shadows = [(shift, 0.0, 0.6 * strength) for shift in (1.0, 0.66, 0.33)] + shadows
        for shift, grow, alpha in shadows:
            x, y, ox, oy = length + grow, width + grow, shift * dx, shift * dy
            corners = (ox - x, oy - y), (ox + x, oy - y), (ox + x, oy + y), (ox - x, oy + y)
            brush.fill([(a, b, 0.0) for a, b in corners], BLACK, alpha)

    def _running_gear(self, brush: Brush) -> None:
        """The dark underside, and the treads of the tyres below the body."""
        body = self.body
        half, radius = 0.5 * body.width, body.wheel_radius
        low = (-0.46 * body.length, -0.85 * half, 0.5 * radius)
        brush.box(low, (0.46 * body.length, 0.85 * half, 1.4 * radius), (16, 16, 18))
        near = math.copysign(1.0, brush.eye[1])
        for side in (-near, near):
            for axle in body.wheels:
                x = (axle - 0.5) * body.length
                for inset in (0.24, 0.13, 0.03):
                    brush.fill(_disc(x, side * (half - inset), radius, radius, 12), TYRE)

    def _hull(self, brush: Brush, hull: Hull) -> None:
        body = self.body
        top = (hull.rear[-1], hull.front[-1])
        corners = [
            body.at(hull, u, v, w)
            for (u, w), v in zip(top + top[::-1], (-1, -1, 1, 1), strict=True)
        ]
        brush.face(corners, self.paint)
        for chain, sign in ((hull.front, 1.0), (hull.rear, -1.0)):
            for (u0, w0), (u1, w1) in zip(chain[-2::-1], chain[:0:-1], strict=True):
                strip = [(u0, -sign, w0), (u0, sign, w0), (u1, sign, w1), (u1, -sign, w1)]
                points = [body.at(hull, *corner) for corner in strip]
                bed = u1 - u0 > 0.25 and self.kind == "pick-up" and chain is hull.rear
                brush.face(points, DARK if bed else self.paint)
                if not bed and abs(u1 - u0) > abs(w1 - w0):  # lies open to the sky, and mirrors it
                    brush.face(points, brush.light.shine, 0.22)
        if hull is body.hulls[0]:
            self._rear(end_panel(brush, body, hull, hull.rear))
        if hull is body.hulls[-1]:
            self._front(end_panel(brush, body, hull, hull.front))
        side = math.copysign(1.0, brush.eye[1])
        if abs(brush.eye[1]) > 0.5 * body.width:
            self._side(side_panel(brush, body, hull, side), hull, side)

    def _window(self, panel: Panel, shape: Shape) -> None:
        """A pane that mirrors the sky in its upper part."""
        panel.fill(shape, self.glass)
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = shape
        middle = ((x0 + x3) / 2, (y0 + y3) / 2), ((x1 + x2) / 2, (y1 + y2) / 2)
        panel.fill((middle[0], middle[1], (x2, y2), (x3, y3)), panel.brush.light.shine, 0.14)
        streak = 0.3 * (x1 - x0)
        glint = ((x0 + streak, y0), (x0 + 1.6 * streak, y0), (x3 + 2.2 * streak, y3))
        panel.fill((*glint, (x3 + streak, y3)), WHITE, 0.1)

    def _front(self, panel: Panel) -> None:
        rng, body = self.rng, self.body
        bottom = panel.outline[0][1]
        low, high = body.head_lamps
        lift = high - low
        panel.rectangle((-1, bottom), (1, low - 0.3 * lift), self.trim)
        panel.rectangle((-1, bottom), (1, bottom + 0.5 * (low - bottom)), BLACK, 0.25)
        panel.rectangle((-0.7, bottom + 0.02), (0.7, bottom + 0.3 * (low - bottom)), DARK)
        if self.chromed:
            panel.rectangle((-0.98, low - 0.9 * lift), (0.98, low - 0.4 * lift), CHROME)
        panel.rectangle((-0.52, low - 0.3 * lift), (0.52, high), DARK)
        for bar in range(int(rng.integers(1, 4))):
            w = low + (0.1 + 0.3 * bar) * lift
            metal = CHROME if self.chromed else (110, 112, 116)
            panel.rectangle((-0.5, w - 0.04 * lift), (0.5, w + 0.08 * lift), metal)
        self._plate(panel, low - 0.95 * lift)
        for side in (-1.0, 1.0):
            shape = ((0.56 * side, low), (0.95 * side, low + 0.1 * lift), (0.97 * side, high))
            panel.fill((*shape, (0.6 * side, high - 0.12 * lift)), (214, 220, 226))
            spot = panel.place(0.76 * side, low + 0.5 * lift)
            if self.head_lamps_on and panel.brush.eye[0] > spot[0]:
                panel.brush.lamp(spot, 0.1, (255, 250, 225))
        bonnet = high, body.windscreen[0] - 0.02
        if self.pattern == "chequers" and happens(rng, 0.5):
            for step in range(6):
                left = step / 3 - 1
                top = left + 1 / 3, 0.5 * sum(bonnet)
                panel.rectangle((left, bonnet[0]), top, self.accents[step % 2])
        elif self.pattern in ("two-tone", "swoosh") and happens(rng, 0.4):
            panel.rectangle((-0.9, bonnet[0] + 0.02), (0.9, bonnet[1]), self.accents[0])
        if happens(rng, 0.6):
            self._word(panel, (-0.7, bonnet[0]), (0.7, bonnet[1]), 0.5 * body.width)
        self._window(panel, _pane(0.9, *body.windscreen))

    def _plate(self, panel: Panel, low: float) -> None:
        high = low + 0.11 / self.body.height
        panel.rectangle((-0.26, low), (0.26, high), pick(self.rng, PLATES))

    def _rear(self, panel: Panel) -> None:
        rng, body = self.rng, self.body
        bottom, top = panel.outline[0][1], panel.outline[2][1]
        window = body.rear_window or (0.6 * top, 0.85 * top)
        low = bottom + 0.45 * (window[0] - bottom)
        high = window[0] - 0.03
        panel.rectangle((-1, bottom), (1, bottom + 0.5 * (low - bottom)), self.trim)
        if self.pattern in ("chequers", "low band"):
            panel.rectangle((-0.97, bottom + 0.04), (0.97, 0.5 * (low + high)), self.accents[0])
        if body.rear_window:
            self._window(panel, _pane(0.84, *window))
        else:
            self._shutter(panel, (-0.85, bottom + 0.06), (0.85, 0.92 * top))
        for side in (-1.0, 1.0):
            lamp = (0.7 * side, low), (0.97 * side, low), (0.97 * side, high), (0.78 * side, high)
            panel.fill(lamp, (172, 20, 24))
            half = 0.5 * (low + high)
            panel.rectangle((0.85 * side - 0.08, low), (0.85 * side + 0.08, half), (230, 120, 90))
        self._plate(panel, bottom + 0.55 * (low - bottom))
        if happens(rng, 0.6):
            self._word(panel, (-0.6, low), (0.6, high), 0.5 * body.width)

    def _side(self, panel: Panel, hull: Hull, side: float) -> None:
        body = self.body
        start, end = panel.reach
        panel.fill(panel.outline, self.paint)
        self._livery(panel)
        bottom, top = hull.rear[0][1], max(w for _, w in hull.outline)
        panel.trim(_slab(bottom - 0.1, bottom + 0.05), self.trim)
        self._shading(panel, bottom, min(top, body.panel[1] + 0.04))
        for gap in body.doors:
            if start + 0.01 < gap < end - 0.01:
                roof = 0.93 * top if gap < body.doors[-1] else body.windscreen[0]
                panel.rectangle((gap - 0.002, bottom + 0.05), (gap + 0.002, roof), BLACK, 0.5)
                handle = body.panel[1] - 0.05
                panel.rectangle((gap - 0.07, handle), (gap - 0.03, handle + 0.015), DARK, 0.6)
        if start <= body.sign[0][0] < end:
            self._word(panel, *body.sign, body.length)
        if body.shutters and start <= body.shutters[0] < end:
            count, (u0, u1) = int(self.rng.integers(2, 4)), body.shutters
            for index in range(count):
                left = u0 + index * (u1 - u0) / count
                self._shutter(panel, (left, 0.52), (left + 0.9 * (u1 - u0) / count, 0.88))
        for pane in body.glass:
            if start <= pane[0][0] < end:
                self._window(panel, pane)
        across, up = body.wheel_radius / body.length, body.wheel_radius / body.height
        circle = _disc(0.0, 0.0, 0.0, 1.2, 16)
        for axle in body.wheels:
            arch = tuple((axle + across * x, up + up * z) for x, _, z in circle)
            panel.trim(arch, (14, 14, 16))
            if start <= axle < end:
                self._wheel(panel.brush, (axle - 0.5) * body.length, side)

    def _shading(self, panel: Panel, bottom: float, top: float) -> None:
        """Darker towards the ground, a bright shoulder that mirrors the sky."""
        height = top - bottom
        for share, alpha in ((0.12, 0.16), (0.26, 0.14), (0.42, 0.12)):
            panel.trim(_slab(bottom - 0.01, bottom + share * height), BLACK, alpha)
        crease = between(self.rng, 0.6, 0.8)
        panel.trim(_slab(bottom + crease * height, bottom + (crease + 0.04) * height), BLACK, 0.12)
        for low, high in ((crease + 0.04, crease + 0.12), (0.9, 1.02)):
            slab = _slab(bottom + low * height, bottom + high * height)
            panel.trim(slab, panel.brush.light.shine, 0.22)

    def _livery(self, panel: Panel) -> None:
        """The pattern on the side."""
        rng, (main, second), (low, high) = self.rng, self.accents, self.body.panel
        tall = high - low
        at = low + tall * between(rng, 0.3, 0.6)
        thin = tall * between(rng, 0.18, 0.34)
        match self.pattern:
            case "stripe":
                panel.trim(_slab(at, at + thin), main)
            case "twin stripes":
                panel.trim(_slab(at, at + 0.8 * thin), main)
                panel.trim(_slab(at - thin, at - 0.4 * thin), second)
            case "low band":
                panel.trim(_slab(0.0, low + tall * between(rng, 0.2, 0.55)), main)
            case "two-tone":
                rear, front = between(rng, 0.2, 0.32), between(rng, 0.62, 0.74)
                panel.trim(((rear, 0), (front, 0), (front + 0.02, 1.1), (rear + 0.02, 1.1)), main)
            case "swoosh":
                foot = between(rng, 0.15, 0.5)
                head = foot + pick(rng, (-1.0, 1.0)) * between(rng, 0.2, 0.5)
                panel.trim(((-0.6, 0), (foot + 0.08, 0), (head + 0.08, 1), (-0.6, 1)), second)
                panel.trim(((-0.6, 0), (foot, 0), (head, 1), (-0.6, 1)), main)
            case "chequers":
                rows = pick(rng, (1, 2, 2))
                tall *= between(rng, 0.45, 0.95)
                step = between(rng, 0.55, 0.9) / min(self.body.length, 6.0)
                self._chequers(panel, (high - tall, high), rows, step)
            case "chequered line":
                self._chequers(panel, (high - 0.2 * tall, high), 2, 0.02)

    def _chequers(self, panel: Panel, up: Span, rows: int, step: float) -> None:
        height = (up[1] - up[0]) / rows
        for row in range(rows):
            low = up[0] + row * height
            for index in range(math.ceil(0.96 / step)):
                left = 0.02 + index * step
                colour = self.accents[(row + index) % 2]
                panel.rectangle((left, low), (min(left + step, 0.98), low + height), colour)

    def _word(self, panel: Panel, low: Spot, high: Spot, metres: float) -> None:
        """The word of the livery, as large as its place allows, or smaller.

        `metres` is the length of one unit along the panel.
        """
        if not self.words:
            return
        rng, body, aspect = self.rng, self.body, 0.62 * len(self.words)  # width by height
        tall = min((high[1] - low[1]) * body.height, (high[0] - low[0]) * metres / aspect)
        tall *= between(rng, 0.7, 1.0)
        span, rise = aspect * tall / metres, 0.5 * tall / body.height
        start = between(rng, low[0], max(low[0], high[0] - span))
        middle = 0.5 * (low[1] + high[1])
        panel.text((start, middle - rise), (start + span, middle + rise), self.words, self.ink)

    def _shutter(self, panel: Panel, low: Spot, high: Spot) -> None:
        """A roller door."""
        panel.rectangle(low, high, self.shutter)
        for slat in range(1, 8):
            w = low[1] + (high[1] - low[1]) * slat / 8
            panel.rectangle((low[0], w), (high[0], w + 0.006), BLACK, 0.4)

    def _wheel(self, brush: Brush, x: float, side: float) -> None:
        radius, y = self.body.wheel_radius, side * (0.5 * self.body.width - 0.02)
        brush.fill(_disc(x, y, radius, radius), TYRE)
        brush.fill(_disc(x, y, radius, 0.66 * radius), brush.lit(self.rim, 0.4, 0.0))
        for spoke in range(self.spokes):
            angle, gap = 2 * math.pi * spoke / self.spokes, 0.5 * math.pi / self.spokes
            wedge = [
                (x + r * radius * math.cos(a), y, radius + r * radius * math.sin(a))
                for r, a in ((0.24, angle), (0.58, angle - gap), (0.58, angle + gap))
            ]
            brush.fill(wedge, (40, 40, 44))
        brush.fill(_disc(x, y, radius, 0.16 * radius, 8), (90, 92, 96))

    def _mirrors(self, brush: Brush) -> None:
        body, hull = self.body, self.body.hulls[-1]
        w = body.windscreen[0] + 0.02
        u = body.glass[-1][1][0] - 0.02
        size = 0.075 * min(body.height, 2.2)
        for side in (-1.0, 1.0):
            x, y, z = body.at(hull, u, side, w)
            inner, outer = sorted((y, y + 1.6 * size * side))
            brush.box((x - 0.06, inner, z), (x + 0.06, outer, z + 1.2 * size), self.trim)

    def _roof(self, brush: Brush, hull: Hull) -> None:
        """What stands on the roof."""
        rng, body = self.rng, self.body
        x, half, z = body.at(hull, body.bar, 1.0, hull.roof)
        match weighted(rng, self.fleet.roofs).split():
            case ["taxi"]:
                colour = pick(rng, ((250, 214, 70), (246, 246, 240)))
                brush.box((x - 0.09, -0.4 * half, z), (x + 0.09, 0.4 * half, z + 0.18), colour)
            case ["luggage"]:
                brush.box((x - 0.8, -0.5 * half, z), (x + 0.8, 0.5 * half, z + 0.35), DARK)
            case ["rails"]:
                for y in (-0.85 * half, 0.85 * half):
                    brush.box((x - 0.9, y - 0.03, z), (x + 0.9, y + 0.03, z + 0.07), DARK)
            case [colours, "bar"]:
                self._light_bar(brush, (x, half, z), LENSES[colours])

    def _light_bar(self, brush: Brush, at: Point, lenses: tuple[Colour, Colour]) -> None:
        rng, (x, half, z) = self.rng, at
        clear = (204, 210, 218)
        first, second = lenses
        row = (first, first, *pick(rng, ((), (clear,), (first, clear, second))), second, second)
        reach, height = half * between(rng, 0.6, 0.9), between(rng, 0.15, 0.24)
        step, on = 2 * reach / len(row), happens(rng, 0.4)
        brush.box((x - 0.14, -reach, z), (x + 0.14, reach, z + 0.05), DARK)
        for index, lens in enumerate(row):
            left = index * step - reach
            low, high = (x - 0.17, left, z + 0.05), (x + 0.17, left + step, z + 0.05 + height)
            lit = on and lens != clear and happens(rng, 0.6)
            brush.box(low, high, mixed(lens, WHITE, 0.3) if lit else lens)
            if lit:
                brush.lamp((x, left + 0.5 * step, z + 0.1 + 0.5 * height), 0.5 * height, lens)


def _disc(x: float, y: float, z: float, radius: float, sides: int = 18) -> list[Point]:
    """A wheel-like circle in an upright plane along the vehicle."""
    angles = (2 * math.pi * i / sides for i in range(sides))
    return [(x + radius * math.cos(a), y, z + radius * math.sin(a)) for a in angles]


def _slab(low: float, high: float) -> Shape:
    return ((-0.2, low), (1.2, low), (1.2, high), (-0.2, high))


def _pane(width: float, low: float, high: float) -> Shape:
    return ((-width, low), (width, low), (0.95 * width, high), (-0.95 * width, high))
