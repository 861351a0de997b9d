"""What stands behind the main vehicle: sky, ground, walls, trees, people and other vehicles.

It is the same for both classes. Places are given as seen by the photographer: metres to the right,
metres above the ground, metres away.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vehicle_lightning.synthetic.canvas import (
    WHITE,
    Brush,
    Canvas,
    Colour,
    Light,
    Pixel,
    mixed,
    shaded,
)
from vehicle_lightning.synthetic.fleets import choose_fleet
from vehicle_lightning.synthetic.rng import between, happens, pick, weighted
from vehicle_lightning.synthetic.vehicle import Vehicle

WALLS: tuple[Colour, ...] = (
    (150, 84, 66), (168, 108, 84), (206, 194, 170), (222, 216, 206), (188, 180, 170),
    (158, 162, 168), (128, 124, 120), (196, 200, 202), (92, 92, 96), (176, 160, 136),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = (
    (62, 92, 46), (82, 112, 52), (50, 78, 48), (104, 118, 60), (128, 112, 62),
)  # fmt: skip
ASPHALT: tuple[Colour, ...] = ((96, 97, 100), (116, 115, 114), (80, 82, 86), (140, 137, 132))
SOFT: tuple[Colour, ...] = ((104, 128, 66), (88, 116, 58), (128, 132, 84), (150, 140, 116))
CLOTHES: tuple[Colour, ...] = (
    (40, 44, 60), (150, 40, 40), (30, 60, 150), (210, 200, 180), (70, 100, 80), (30, 30, 32),
    (226, 226, 226), (196, 160, 60),
)  # fmt: skip
SKIES: dict[str, tuple[tuple[Colour, Colour], ...]] = {  # at the top, and at the horizon
    "sun": (((74, 130, 202), (190, 214, 234)), ((112, 158, 208), (216, 226, 234)),
            ((140, 172, 206), (230, 232, 230))),
    "clouds": (((196, 202, 210), (226, 228, 230)), ((222, 224, 226), (238, 238, 238)),
               ((150, 158, 168), (206, 210, 214))),
    "dusk": (((70, 84, 130), (226, 176, 130)), ((40, 48, 76), (120, 110, 120))),
}  # fmt: skip
STRANGERS = 0.05  # share of the vehicles in the background that are emergency vehicles


def choose_light(rng: Generator) -> tuple[str, Light, tuple[Colour, Colour]]:
    """The kind of light, the light, and the colours of the sky at the top and at the horizon."""
    kind = weighted(rng, "sun 46, clouds 40, dusk 4, hall 10")
    ambient, sunshine, low, high = {
        "sun": ((0.66, 0.69, 0.75), (0.56, 0.53, 0.47), 25, 65),
        "clouds": ((0.88, 0.89, 0.91), (0.18, 0.18, 0.18), 50, 80),
        "dusk": ((0.52, 0.50, 0.56), (0.26, 0.20, 0.14), 8, 20),
        "hall": ((0.74, 0.72, 0.70), (0.40, 0.39, 0.37), 55, 85),
    }[kind]
    height, around = math.radians(between(rng, low, high)), between(rng, 0, 2 * math.pi)
    sun = math.cos(height) * math.cos(around), math.cos(height) * math.sin(around), math.sin(height)
    if kind == "hall":
        wall = pick(rng, ((30, 31, 36), (62, 60, 60), (150, 148, 146), (206, 206, 208)))
        return kind, Light(ambient, sunshine, sun, (200, 200, 200)), (shaded(wall, 0.7), wall)
    top, horizon = pick(rng, SKIES[kind])
    return kind, Light(ambient, sunshine, sun, mixed(top, horizon, 0.6)), (top, horizon)


class Backdrop:
    """Everything behind the main vehicle, painted from far to near."""

    def __init__(self, rng: Generator, brush: Brush) -> None:
        self.rng = rng
        self.brush = brush
        self.canvas: Canvas = brush.canvas
        fx, fy, fz = brush.forward
        self.flat = math.hypot(fx, fy)
        self.ahead = fx / self.flat, fy / self.flat
        self.vehicle_away = math.hypot(brush.eye[0], brush.eye[1])
        self.horizon = brush.centre[1] + brush.focal[1] * fz / self.flat

    def spot(self, right: float, up: float, away: float) -> Pixel:
        """Where a place is seen."""
        x = self.brush.centre[0] + self.brush.focal[0] * right / away
        return x, self.horizon + self.brush.focal[1] * (self.brush.eye[2] - up) / away

    def reach(self, away: float) -> float:
        """Metres to the left and right that are seen at a distance."""
        return 0.6 * self.canvas.size * away / self.brush.focal[0]

    def paint(self, kind: str, sky: tuple[Colour, Colour]) -> None:
        """A random place under a kind of light."""
        rng, behind = self.rng, self.vehicle_away
        self._sky(sky, clouded=kind != "hall")
        if kind == "hall":
            self._ground(
                pick(rng, ((70, 70, 74), (150, 148, 146), (204, 204, 204), (96, 70, 54))), 0.2
            )
            self._hall(sky[1])
        else:
            place = weighted(rng, "street 40, trees 30, yard 30")
            soft = place == "trees" and happens(rng, 0.5)
            if place != "street" or happens(rng, 0.3):
                self._treeline(between(rng, 45, 110), between(rng, 6, 12))
            self._ground(pick(rng, SOFT if soft else ASPHALT))
            if place == "street":
                self._street()
            elif place == "yard" and happens(rng, 0.8):
                away = behind + between(rng, 7, 25)
                self._wall(away, away, between(rng, 3.5, 9))
            if place != "street" and happens(rng, 0.6):
                for _ in range(int(rng.integers(1, 5))):
                    away = behind + between(rng, 6, 25)
                    self._tree(between(rng, -1, 1) * self.reach(away), away, between(rng, 4, 9))
            if not soft:
                self._markings()
        if happens(rng, 0.5 if kind != "hall" else 0.35):
            self._other_vehicles()
        for _ in range(int(rng.integers(0, 4)) if happens(rng, 0.45) else 0):
            away = behind + between(rng, 2.5, 14)
            self._person(between(rng, -1, 1) * self.reach(away), away)
        if happens(rng, 0.25):
            away = behind + between(rng, 3, 12)
            self._post(between(rng, -1, 1) * self.reach(away), away)

    def _sky(self, colours: tuple[Colour, Colour], clouded: bool) -> None:
        """A gradient down to the horizon, with soft clouds."""
        rng, canvas, size = self.rng, self.canvas, self.canvas.size
        share = np.clip(np.arange(size) / max(1.0, self.horizon), 0, 1)[:, None]
        column = np.array(colours[0]) * (1 - share) + np.array(colours[1]) * share
        gradient = Image.fromarray(column.astype(np.uint8)[:, None, :])
        canvas.image.paste(gradient.resize((size, size), Image.Resampling.NEAREST))
        if clouded and happens(rng, 0.6):
            clouds = rng.integers(0, 256, (6, 5)).astype(np.float32) - between(rng, 80, 200)
            mask = Image.fromarray(np.clip(1.6 * clouds, 0, 190).astype(np.uint8))
            height = max(1, min(size, round(self.horizon)))
            soft = mask.resize((size, height), Image.Resampling.BILINEAR)
            bright = tuple(int(part) for part in mixed(colours[1], WHITE, 0.5))
            canvas.image.paste(bright, (0, 0), soft)

    def _ground(self, colour: Colour, roughness: float = 1.0) -> None:
        """The ground up to the horizon."""
        size = self.canvas.size
        colour = self.brush.lit(colour, max(0.0, self.brush.light.sun[2]), 1.0)
        self._fill(
            [(0, self.horizon), (size, self.horizon), (size, size), (0, size)], colour, roughness
        )

    def _fill(self, pixels: Sequence[Pixel], colour: Colour, roughness: float) -> None:
        """A polygon of an uneven colour."""
        mask, box = self._mask(pixels)
        if mask:
            left, top = box
            ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in pixels], fill=255)
            self._paste(mask, box, colour, roughness)

    def _mask(self, pixels: Sequence[Pixel]) -> tuple[Image.Image | None, tuple[int, int]]:
        """An empty mask around some pixels, and where its upper left corner lies."""
        xs, ys = zip(*pixels, strict=True)
        size = self.canvas.size
        left, top = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
        right, bottom = min(size, math.ceil(max(xs)) + 1), min(size, math.ceil(max(ys)) + 1)
        if left >= right or top >= bottom:
            return None, (left, top)
        return Image.new("L", (right - left, bottom - top)), (left, top)

    def _paste(
        self, mask: Image.Image, at: tuple[int, int], colour: Colour, roughness: float
    ) -> None:
        """An uneven colour where the mask says."""
        left, top = (int(part) for part in self.rng.integers(0, 256, 2))
        tile = _noise_tile(self.canvas.size).crop((left, top, left + mask.width, top + mask.height))
        levels = 1 + roughness * (np.arange(256) - 128) / 128
        palette = np.clip(np.outer(levels, colour), 0, 255).astype(np.uint8)
        tile.putpalette(palette.tobytes())
        self.canvas.image.paste(tile.convert("RGB"), at, mask)

    def _crown(
        self, blobs: Sequence[tuple[float, float, float]], away: float, leaf: Colour
    ) -> None:
        """Leaves: round tufts at (right, up) with a radius, all in metres, shaded below."""
        placed = []
        for right, up, radius in blobs:
            x, y = self.spot(right, up, away)
            across, along = (focal * radius / away for focal in self.brush.focal)
            placed.append((x - across, y - along, x + across, y + along))
        mask, (left, top) = self._mask([p for box in placed for p in (box[:2], box[2:])])
        if not mask:
            return
        for share, shift in ((0.55, 0.0), (1.0, 0.25), (1.35, 0.6)):
            draw = ImageDraw.Draw(mask)
            draw.rectangle((0, 0, *mask.size), fill=0)
            for x0, y0, x1, y1 in placed:
                less = 0.5 * shift * (y1 - y0)
                box = (x0 + 0.5 * less - left, y0 - top, x1 - 0.7 * less - left, y1 - less - top)
                draw.ellipse(box, fill=255)
            self._paste(mask, (left, top), shaded(leaf, share), 2.0)

    def _markings(self) -> None:
        """Lines painted on the ground, or a kerb."""
        rng = self.rng
        if happens(rng, 0.4):
            return
        paint = pick(rng, ((216, 216, 210), (216, 216, 210), (214, 176, 60)))
        colour = self.brush.lit(paint, max(0.0, self.brush.light.sun[2]), 1.0)
        slope = between(rng, -1.5, 1.5)
        for index in range(int(rng.integers(1, 6))):
            start = between(rng, -2, 2) + 2.7 * (index - 2)
            near, far = max(2.0, self.vehicle_away - 4), self.vehicle_away + 4
            corners = [
                self.spot(start, 0, near), self.spot(start + 0.13, 0, near),
                self.spot(start + slope + 0.13, 0, far), self.spot(start + slope, 0, far),
            ]  # fmt: skip
            self.canvas.polygon(corners, colour, 0.8)

    def _street(self) -> None:
        """Houses along the street, and its pavement."""
        rng = self.rng
        away = self.vehicle_away + between(rng, 3, 18)
        tilt = pick(rng, (0.0, 0.0, 0.5, -0.5, 0.8, -0.8))
        pavement = self.brush.lit((170, 166, 160), max(0.0, self.brush.light.sun[2]), 1.0)
        near = away - min(2.5, 0.5 * (away - self.vehicle_away))
        corners = [
            self.spot(a, 0, d) for a, d in ((-60, near), (60, near), (60, away), (-60, away))
        ]
        self.canvas.polygon(corners, pavement)
        left, right = away * (1 + max(0, tilt)), away * (1 + max(0, -tilt))
        self._wall(left, right, between(rng, 4, 13))
        if happens(rng, 0.4):
            near_tree = away - 0.5
            for _ in range(int(rng.integers(1, 3))):
                right_of = between(rng, -1, 1) * self.reach(near_tree)
                self._tree(right_of, near_tree, between(rng, 4, 8))

    def _wall(self, left: float, right: float, height: float) -> None:
        """Houses side by side across the picture, so far away at its left and right edge."""
        rng = self.rng
        edges = np.sort(np.concatenate([[-1.05, 1.05], rng.uniform(-1, 1, rng.integers(0, 3))]))
        for start, end in pairwise(edges.tolist()):
            tall = height * between(rng, 0.75, 1.2)
            wall = self.brush.lit(pick(rng, WALLS), between(rng, 0.1, 0.7), 0.0)

            def place(share: float, up: float, start: float = start, end: float = end) -> Pixel:
                across = start + (end - start) * share
                away = 1 / (1 / left + (1 / right - 1 / left) * (across + 1.05) / 2.1)
                return self.spot(across * self.reach(away), up, away)

            facade = [place(0, 0), place(1, 0), place(1, tall), place(0, tall)]
            self._fill(facade, wall, between(rng, 0.3, 1.2))
            if happens(rng, 0.5):
                self._quad(place, (0, 1), (0.93 * tall, tall), shaded(wall, 0.7))
            glass = mixed((50, 58, 68), self.brush.light.sky, between(rng, 0.0, 0.5))
            frame = shaded(wall, pick(rng, (0.75, 1.2)))
            away = 1 / (0.5 / left + 0.5 / right)
            columns = max(1, round((end - start) * self.reach(away) / between(rng, 2.2, 4)))
            width = between(rng, 0.3, 0.75)
            low, storey = between(rng, 0.0, 1.0), between(rng, 2.6, 3.4)
            tall_share = between(rng, 0.45, 0.7)
            for floor in range(max(1, int(tall / storey))):
                for column in range(min(columns, 12)):
                    sides = (
                        (column + 0.5 - width / 2) / columns,
                        (column + 0.5 + width / 2) / columns,
                    )
                    foot = floor * storey + (low if floor else 0.5 * low)
                    up = foot, min(foot + tall_share * storey + 0.4, 0.95 * tall)
                    self._quad(place, sides, up, frame)
                    inset = 0.12 * (sides[1] - sides[0])
                    inner = sides[0] + inset, sides[1] - inset
                    pane = shaded(glass, between(rng, 0.7, 1.3))
                    self._quad(place, inner, (up[0] + 0.12, up[1] - 0.12), pane)

    def _quad(
        self,
        place: Callable[[float, float], Pixel],
        sides: Pixel,
        up: Pixel,
        colour: Colour,
    ) -> None:
        corners = [
            place(sides[0], up[0]), place(sides[1], up[0]),
            place(sides[1], up[1]), place(sides[0], up[1]),
        ]  # fmt: skip
        self.canvas.polygon(corners, colour)

    def _hall(self, wall: Colour) -> None:
        """A showroom: panels, lamps under the ceiling, and what the floor mirrors of them."""
        rng, away = self.rng, self.vehicle_away + between(self.rng, 4, 15)
        reach = self.reach(away)
        for _ in range(int(rng.integers(2, 7))):
            left, width = between(rng, -1, 1) * reach, between(rng, 1, 6)
            colour = mixed(wall, pick(rng, ((240, 240, 240), *CLOTHES)), between(rng, 0.1, 0.8))
            low, high = pick(rng, (0.0, 1.5)), between(rng, 2, 6)
            corners = [(left, low), (left + width, low), (left + width, high), (left, high)]
            self.canvas.polygon([self.spot(a, h, away) for a, h in corners], colour)
            mirrored = [(left, -0.1), (left + width, -0.1), (left + width, -1.5), (left, -1.5)]
            self.canvas.polygon([self.spot(a, h, away) for a, h in mirrored], colour, 0.2)
        for _ in range(int(rng.integers(3, 16))):
            x, y = self.spot(between(rng, -1, 1) * reach, between(rng, 3.5, 7), away)
            radius = self.brush.focal[0] * between(rng, 0.08, 0.25) / away
            self.canvas.ellipse(x, y, (2.4 * radius, 2.4 * radius), WHITE, 0.2)
            self.canvas.ellipse(x, y, (radius, radius), (255, 252, 240))

    def _treeline(self, away: float, height: float) -> None:
        """Woods in the distance."""
        rng, reach = self.rng, self.reach(away)
        leaf = self.brush.lit(pick(rng, LEAVES), 0.3, 0.0)
        leaf = mixed(leaf, self.brush.light.sky, between(rng, 0.0, 0.25))
        blobs = []
        for step in range(24):
            right = (step / 11.5 - 1) * 1.1 * reach
            radius = height * between(rng, 0.25, 0.5)
            blobs.append((right, height * between(rng, 0.3, 0.6), radius))
        base = [
            self.spot(a, h, away) for a, h in ((-reach, 0), (reach, 0), (reach, 3), (-reach, 3))
        ]
        self._fill(base, shaded(leaf, 0.6), 2.0)
        self._crown(blobs, away, leaf)

    def _blob(self, right: float, up: float, away: float, radius: float, colour: Colour) -> None:
        x, y = self.spot(right, up, away)
        across, along = (focal * radius / away for focal in self.brush.focal)
        ink = tuple(min(255, int(part)) for part in colour)
        box = (x - across, y - along, x + across, y + along)
        self.canvas.opaque.ellipse(box, fill=ink)

    def _tree(self, right: float, away: float, height: float) -> None:
        """A tree with a crown of leaves in sun and shade."""
        rng = self.rng
        trunk = 0.03 * height
        bark = self.brush.lit((92, 76, 62), 0.3, 0.0)
        foot = [(right - trunk, 0), (right + trunk, 0), (right + trunk, 0.6 * height)]
        corners = [*foot, (right - trunk, 0.6 * height)]
        self.canvas.polygon([self.spot(a, h, away) for a, h in corners], bark)
        leaf = self.brush.lit(pick(rng, LEAVES), 0.35, 0.1)
        blobs = []
        for _ in range(16):
            turn, out = between(rng, 0, 2 * math.pi), between(rng, 0.05, 0.22) * height
            spot = right + out * math.cos(turn), 0.68 * height + out * math.sin(turn)
            blobs.append((*spot, between(rng, 0.06, 0.14) * height))
        self._crown(blobs, away, leaf)

    def _other_vehicles(self) -> None:
        """A row of vehicles, parked or queueing behind the main one."""
        rng, (ax, ay) = self.rng, self.ahead
        row = self.vehicle_away + between(rng, 5, 11)
        turn = between(rng, 0, 2 * math.pi)
        along = pick(rng, (0.0, 0.25, -0.25))
        count, start = int(rng.integers(1, 4)), between(rng, -1.0, 0.4) * self.reach(row)
        for index in range(count):
            right = start + index * 6.0
            away = row + along * index * 6.0
            if away < self.vehicle_away + 4.5:
                continue
            x = self.brush.eye[0] + ax * away + ay * right
            y = self.brush.eye[1] + ay * away - ax * right
            vehicle = Vehicle(rng, choose_fleet(rng, happens(rng, STRANGERS)))
            vehicle.draw(self.brush.beside(x, y, turn))

    def _person(self, right: float, away: float) -> None:
        """Somebody standing or walking."""
        rng, tall = self.rng, between(self.rng, 1.55, 1.85)
        coat, legs = (self.brush.lit(pick(rng, CLOTHES), 0.4, 0.0) for _ in range(2))
        skin = pick(rng, ((216, 174, 144), (150, 104, 76), (96, 66, 50)))

        def part(shape: tuple[Pixel, ...], colour: Colour) -> None:
            self.canvas.polygon([self.spot(right + a, h * tall, away) for a, h in shape], colour)

        stride = between(rng, 0.03, 0.2)
        for side in (-1, 1):
            part(((side * stride, 0), (side * stride + 0.12, 0), (0.13, 0.5), (-0.13, 0.5)), legs)
        part(((-0.16, 0.47), (0.16, 0.47), (0.23, 0.83), (-0.23, 0.83)), coat)
        self._blob(right, 0.92 * tall, away, 0.12, self.brush.lit(skin, 0.3, 0.0))

    def _post(self, right: float, away: float) -> None:
        """A lamp post, or a road sign."""
        tall = pick(self.rng, (2.6, 7.0))
        corners = ((right, 0), (right + 0.09, 0), (right + 0.09, tall), (right, tall))
        self.canvas.polygon([self.spot(a, h, away) for a, h in corners], (96, 98, 102))
        if tall < 3:
            colour = pick(self.rng, ((200, 30, 30), (30, 70, 180), (236, 236, 232), (230, 190, 50)))
            self._blob(right + 0.045, tall, away, 0.33, colour)


@lru_cache(maxsize=2)
def _noise_tile(size: int) -> Image.Image:
    """Coarse and fine noise together, as numbers of colours; number 128 is the colour itself."""
    rng = np.random.default_rng(size)
    side = size + 256
    total = np.full((side, side), 128.0, dtype=np.float32)
    for grain, strength in ((2, 24.0), (6, 13.0), (24, 11.0), (96, 12.0)):
        coarse = rng.normal(0.0, strength, (side // grain + 2,) * 2).astype(np.float32)
        rough = Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR)
        total += np.asarray(rough)
    levels = np.clip(total, 0, 255).astype(np.uint8)
    return Image.frombytes("P", (side, side), levels.tobytes())
