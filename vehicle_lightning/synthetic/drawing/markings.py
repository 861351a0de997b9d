"""What is painted, glued or screwed on a vehicle: stripes, chequers, words, signs, light bars."""

import math
from dataclasses import dataclass, replace

from vehicle_lightning.synthetic.drawing.bodies import Shape, Span
from vehicle_lightning.synthetic.drawing.canvas import Brush, Colour
from vehicle_lightning.synthetic.drawing.panels import Panel


@dataclass(frozen=True)
class Band:
    """A band along the sides, slanted at its ends by `slant` (shares of length per height)."""

    up: Span
    colour: Colour
    along: Span = (-0.1, 1.1)
    slant: float = 0.0

    def on_side(self, panel: Panel) -> None:
        """Paint it over what is there."""
        low, high = self.up
        lean = self.slant * (high - low)
        panel.trim(
            (
                (self.along[0], low),
                (self.along[1], low),
                (self.along[1] + lean, high),
                (self.along[0] + lean, high),
            ),
            self.colour,
        )


@dataclass(frozen=True)
class Chequers:
    """Rows of blocks in two colours along the sides."""

    up: Span
    rows: int
    block: float  # metres, length of a block
    colours: tuple[Colour, Colour]
    along: Span = (0.02, 0.98)

    def on_side(self, panel: Panel) -> None:
        """Paint it over what is there."""
        low, height = self.up[0], (self.up[1] - self.up[0]) / self.rows
        step = self.block / panel.body.length
        count = math.ceil((self.along[1] - self.along[0]) / step)
        for row in range(self.rows):
            bottom = low + row * height
            for index in range(count):
                start = self.along[0] + index * step
                panel.rectangle(
                    (start, bottom),
                    (min(start + step, self.along[1]), bottom + height),
                    self.colours[(row + index) % 2],
                )


@dataclass(frozen=True)
class Chevrons:
    """Stripes across the rear that climb to the middle at 45 degrees."""

    colours: tuple[Colour, Colour]
    up: Span
    stripes: int

    def on_rear(self, panel: Panel) -> None:
        """Paint them over what is there."""
        low, high = self.up
        climb = (high - low) * panel.body.height / (0.5 * panel.body.width)
        step = 1.0 / self.stripes
        for side in (-1.0, 1.0):
            left, right = sorted((0.0, 0.96 * side))
            half = ((left, low), (right, low), (right, high), (left, high))
            area = replace(panel, outline=half)
            area.fill(half, self.colours[0])
            for index in range(0, math.ceil((1.0 + climb) * self.stripes), 2):
                inner, outer = side * index * step, side * (index + 1) * step
                lean = side * climb
                area.trim(
                    ((inner, low), (outer, low), (outer - lean, high), (inner - lean, high)),
                    self.colours[1],
                )


@dataclass(frozen=True)
class Words:
    """Lettering in a place of the side, the front or the rear."""

    text: str
    colour: Colour
    low: Span
    high: Span
    mirrored: bool = False

    def on_panel(self, panel: Panel) -> None:
        """Write them over what is there."""
        panel.text(self.low, self.high, self.text, self.colour, self.mirrored)


def _star(points: int, inner: float) -> Shape:
    return tuple(
        (
            math.sin(math.pi * i / points) * (inner if i % 2 else 1.0),
            math.cos(math.pi * i / points) * (inner if i % 2 else 1.0),
        )
        for i in range(2 * points)
    )


EMBLEMS: dict[str, Shape] = {
    "disc": _star(10, 1.0),
    "cross": (
        (-0.33, 1), (0.33, 1), (0.33, 0.33), (1, 0.33), (1, -0.33), (0.33, -0.33),
        (0.33, -1), (-0.33, -1), (-0.33, -0.33), (-1, -0.33), (-1, 0.33), (-0.33, 0.33),
    ),
    "six-point star": _star(6, 0.5),
    "badge": _star(7, 0.7),
    "shield": ((-0.8, 0.9), (0.8, 0.9), (0.75, -0.1), (0.0, -1.0), (-0.75, -0.1)),
    "diamond": ((0, 1), (0.8, 0), (0, -1), (-0.8, 0)),
    "arrow": ((-1, 0.35), (0.2, 0.35), (0.2, 0.9), (1, 0), (0.2, -0.9), (0.2, -0.35), (-1, -0.35)),
    "triangle": ((0, 1), (0.95, -0.8), (-0.95, -0.8)),
    "flower": _star(5, 0.62),
}  # fmt: skip


@dataclass(frozen=True)
class Emblem:
    """A symbol on the sides; `size` is its radius in metres."""

    name: str
    colour: Colour
    at: Span
    size: float

    def on_side(self, panel: Panel) -> None:
        """Paint it over what is there."""
        if not panel.reach[0] < self.at[0] < panel.reach[1]:
            return
        across, up = self.size / panel.body.length, self.size / panel.body.height
        panel.fill(
            tuple((self.at[0] + a * across, self.at[1] + b * up) for a, b in EMBLEMS[self.name]),
            self.colour,
        )


@dataclass(frozen=True)
class Shutters:
    """Roller doors of equipment lockers along the sides."""

    along: Span
    up: Span
    count: int
    colour: Colour

    def on_side(self, panel: Panel) -> None:
        """Fit them into the load space."""
        step = (self.along[1] - self.along[0]) / self.count
        low, high = self.up
        for index in range(self.count):
            start = self.along[0] + index * step
            end = start + 0.9 * step
            if not panel.reach[0] <= start < end <= panel.reach[1]:
                continue
            panel.rectangle((start, low), (end, high), self.colour)
            for slat in range(1, 6):
                w = low + (high - low) * slat / 6
                panel.line(((start, w), (end, w)), (60, 60, 64), 0.02, 0.5)


SideMarking = Band | Chequers | Emblem | Shutters


@dataclass(frozen=True)
class LightBar:
    """A bar or a pair of beacons across the roof, its lenses listed from right to left."""

    lenses: tuple[Colour, ...]
    lit: tuple[bool, ...]
    height: float  # metres
    beacons: bool  # separate round lamps instead of one long bar
    span: float = 0.72  # share of the width

    def on_roof(self, brush: Brush, x: float, z: float, half_width: float) -> None:
        """Mount it at x, on a roof at height z."""
        reach = half_width * self.span
        step = 2 * reach / len(self.lenses)
        foot = z + 0.03
        if not self.beacons:
            brush.box((x - 0.1, -reach, z), (x + 0.1, reach, foot + 0.02), (30, 30, 34))
        for index, (lens, lit) in enumerate(zip(self.lenses, self.lit, strict=True)):
            middle, half, ahead = (index + 0.5) * step - reach, 0.5 * step, 0.15
            if self.beacons:
                # One stands in the middle, two stand near the edges of the roof.
                middle, half, ahead = 1.7 * middle, 0.09, 0.09
            low = (x - ahead, middle - half, foot)
            high = (x + ahead, middle + half, foot + self.height)
            bright: Colour = (
                min(255, lens[0] * 1.15 + 60),
                min(255, lens[1] * 1.15 + 60),
                min(255, lens[2] * 1.15 + 60),
            )
            brush.box(low, high, bright if lit else lens)
            if lit:
                heart = (x, middle, foot + 0.5 * self.height)
                brush.lamp(heart, 0.45 * self.height + 0.04, bright)
                brush.glow(heart, 0.42, lens)


@dataclass(frozen=True)
class RoofSign:
    """A lit box with a word on it, as on taxis and driving-school cars."""

    text: str
    colour: Colour
    ink: Colour
    lit: bool

    def on_roof(self, brush: Brush, x: float, z: float, half_width: float) -> None:
        """Mount it at x, on a roof at height z."""
        reach = 0.42 * half_width
        brush.box((x - 0.09, -reach, z), (x + 0.09, reach, z + 0.17), self.colour)
        for sign in (1.0, -1.0):
            if brush.view.eye[0] * sign < (x + 0.09 * sign) * sign:
                continue
            front = x + 0.1 * sign
            top, bottom, edge = z + 0.15, z + 0.02, 0.9 * reach * sign
            corners = (
                (front, -edge, top), (front, edge, top),
                (front, edge, bottom), (front, -edge, bottom),
            )  # fmt: skip
            if self.lit:
                brush.shine(corners, self.colour)
            brush.text(corners, self.text, self.ink)
        if self.lit:
            brush.glow((x, 0.0, z + 0.09), 0.2, self.colour)


@dataclass(frozen=True)
class RoofBox:
    """A luggage box, or cross bars with a load when it is thin."""

    length: float
    height: float
    colour: Colour
    span: float

    def on_roof(self, brush: Brush, x: float, z: float, half_width: float) -> None:
        """Mount it at x, on a roof at height z."""
        reach = self.span * half_width
        for bar in (-0.35, 0.35):
            at = x + bar * self.length
            brush.box(
                (at - 0.03, -0.75 * half_width, z),
                (at + 0.03, 0.75 * half_width, z + 0.05),
                (50, 50, 54),
            )
        low = (x - 0.5 * self.length, -reach, z + 0.05)
        brush.box(low, (x + 0.5 * self.length, reach, z + 0.05 + self.height), self.colour)


@dataclass(frozen=True)
class Ladder:
    """A ladder lying along the roof, `length` metres."""

    length: float

    def on_roof(self, brush: Brush, x: float, z: float, half_width: float) -> None:
        """Lay it around x, on a roof at height z."""
        metal = (168.0, 172.0, 178.0)
        for y in (-0.32 * half_width, 0.12 * half_width):
            brush.box(
                (x - 0.5 * self.length, y - 0.05, z + 0.12),
                (x + 0.5 * self.length, y + 0.05, z + 0.26),
                metal,
            )
        for step in range(12):
            at = x + (step / 11 - 0.5) * self.length
            rung = ((at, -0.32 * half_width, z + 0.2), (at, 0.12 * half_width, z + 0.2))
            brush.line(rung, metal, 0.05)


RoofItem = LightBar | RoofSign | RoofBox | Ladder
