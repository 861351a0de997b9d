"""What stands behind the main vehicle: sky, ground, walls, trees, people and other vehicles.

It is the same for both classes. Places are given as seen by the photographer: metres to the right,
metres above the ground, metres away.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vehicle_lightning.synthetic.canvas import WHITE, Brush, Colour, Light, Pixel, mixed, shaded
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
SIGNS: tuple[Colour, ...] = (
    (30, 70, 190), (200, 28, 30), (240, 204, 40), (30, 120, 70), (230, 110, 30), (232, 232, 230),
)  # fmt: skip
SKIES: dict[str, tuple[tuple[Colour, Colour], ...]] = {  # at the top, and at the horizon
    "sun": (((74, 130, 202), (190, 214, 234)), ((112, 158, 208), (216, 226, 234)),
            ((140, 172, 206), (230, 232, 230))),
    "clouds": (((196, 202, 210), (226, 228, 230)), ((222, 224, 226), (238, 238, 238)),
               ((150, 158, 168), (206, 210, 214))),
    "dusk": (((70, 84, 130), (226, 176, 130)), ((40, 48, 76), (120, 110, 120))),
}  # fmt: skip
HALLS: tuple[Colour, ...] = ((30, 31, 36), (62, 60, 60), (150, 148, 146), (206, 206, 208))
FLOORS: tuple[Colour, ...] = ((70, 70, 74), (150, 148, 146), (204, 204, 204), (96, 70, 54))
STRANGERS = 0.05  # share of the vehicles in the background that are emergency vehicles


def choose_light(rng: Generator) -> Light:
    """Sunshine, clouds, dusk, or the lamps of a hall."""
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
        wall = pick(rng, HALLS)
        return Light(ambient, sunshine, sun, (200, 200, 200), (shaded(wall, 0.7), wall), True)
    sky = pick(rng, SKIES[kind])
    return Light(ambient, sunshine, sun, mixed(*sky, 0.6), sky, False)


class Backdrop:
    """Everything behind the main vehicle, painted from far to near."""

    def __init__(self, rng: Generator, brush: Brush) -> None:
        self.rng = rng
        self.brush = brush
        self.canvas = brush.canvas
        fx, fy, fz = brush.forward
        flat = math.hypot(fx, fy)
        self.ahead = fx / flat, fy / flat
        self.vehicle_away = math.hypot(brush.eye[0], brush.eye[1])
        self.horizon = brush.centre[1] + brush.focal[1] * fz / flat

    def spot(self, right: float, up: float, away: float) -> Pixel:
        """Where a place is seen."""
        x = self.brush.centre[0] + self.brush.focal[0] * right / away
        return x, self.horizon + self.brush.focal[1] * (self.brush.eye[2] - up) / away

    def paint(self) -> None:
        """A random place."""
        rng, indoors = self.rng, self.brush.light.indoors
        self._sky()
        if indoors:
            self._ground(pick(rng, FLOORS), 0.2)
            self._hall()
        else:
            self._outdoors(weighted(rng, "street 40, trees 30, yard 30"))
        if happens(rng, 0.35 if indoors else 0.5):
            self._other_vehicles()
        for _ in range(int(rng.integers(0, 4)) if happens(rng, 0.45) else 0):
            self._person(*self._somewhere(2.5, 14))
        if happens(rng, 0.25):  # a lamp post
            right, away = self._somewhere(3, 12)
            self._rectangle((right, right + 0.09), (0, 7), away, (96, 98, 102))

    def _outdoors(self, place: str) -> None:
        rng, soft = self.rng, place == "trees" and happens(self.rng, 0.5)
        if place != "street" or happens(rng, 0.3):
            self._treeline(between(rng, 45, 110), between(rng, 6, 12))
        self._ground(pick(rng, SOFT if soft else ASPHALT))
        if place == "street":
            away = self.vehicle_away + between(rng, 3, 18)
            self._houses(away, pick(rng, (0.0, 0.0, 0.4, -0.4, 0.6, -0.6)), between(rng, 4, 13))
        elif place == "yard" and happens(rng, 0.8):
            self._houses(self.vehicle_away + between(rng, 7, 25), 0.0, between(rng, 3.5, 9))
        for _ in range(int(rng.integers(1, 5)) if happens(rng, 0.5) else 0):
            self._tree(*self._somewhere(4, 25), between(rng, 4, 9))
        if not soft and happens(rng, 0.6):
            self._markings()

    def _reach(self, away: float) -> float:
        """Metres to the left and right that are seen at a distance."""
        return 0.6 * self.canvas.size * away / self.brush.focal[0]

    def _somewhere(self, near: float, far: float) -> tuple[float, float]:
        """Metres to the right and metres away of a place so far behind the main vehicle."""
        away = self.vehicle_away + between(self.rng, near, far)
        return between(self.rng, -1, 1) * self._reach(away), away

    def _rectangle(
        self, right: Pixel, up: Pixel, away: float, colour: Colour, alpha: float = 1.0
    ) -> None:
        """An upright rectangle that faces the camera."""
        (x0, y0), (x1, y1) = self.spot(right[0], up[0], away), self.spot(right[1], up[1], away)
        self.canvas.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour, alpha)

    def _sky(self) -> None:
        """A gradient down to the horizon, with soft clouds."""
        rng, canvas, size, light = self.rng, self.canvas, self.canvas.size, self.brush.light
        share = np.clip(np.arange(size) / max(1.0, self.horizon), 0, 1)[:, None]
        column = np.array(light.sky[0]) * (1 - share) + np.array(light.sky[1]) * share
        gradient = Image.fromarray(column.astype(np.uint8)[:, None, :])
        canvas.image.paste(gradient.resize((size, size), Image.Resampling.NEAREST))
        if not light.indoors and happens(rng, 0.6):
            clouds = rng.integers(0, 256, (6, 5)).astype(np.float32) - between(rng, 80, 200)
            mask = Image.fromarray(np.clip(1.6 * clouds, 0, 190).astype(np.uint8))
            soft = mask.resize((size, max(1, round(self.horizon))), Image.Resampling.BILINEAR)
            bright = tuple(int(part) for part in mixed(light.sky[1], WHITE, 0.5))
            canvas.image.paste(bright, (0, 0), soft)

    def _ground(self, colour: Colour, roughness: float = 1.0) -> None:
        """The ground up to the horizon."""
        size, top = self.canvas.size, self.horizon
        lit = self.brush.lit(colour, max(0.0, self.brush.light.sun[2]), 1.0)
        self._fill([(0, top), (size, top), (size, size), (0, size)], lit, roughness)

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
        """Lines painted on the ground."""
        rng, near, far = self.rng, max(2.0, self.vehicle_away - 4), self.vehicle_away + 4
        paint = pick(rng, ((216, 216, 210), (216, 216, 210), (214, 176, 60)))
        colour = self.brush.lit(paint, max(0.0, self.brush.light.sun[2]), 1.0)
        slope = between(rng, -1.5, 1.5)
        for index in range(int(rng.integers(1, 6))):
            start = between(rng, -2, 2) + 2.7 * (index - 2)
            places = (start, near), (start + 0.13, near), (start + slope + 0.13, far)
            corners = [self.spot(a, 0, d) for a, d in (*places, (start + slope, far))]
            self.canvas.polygon(corners, colour, 0.8)

    def _houses(self, away: float, slope: float, height: float) -> None:
        """Houses side by side, so far away in the middle, nearer on the one side by a slope."""
        rng, reach = self.rng, 1.5 * self._reach(away)
        end = -reach
        while end < reach:
            start, end = end, end + between(rng, 5, 16)
            tall = height * between(rng, 0.75, 1.2)
            wall = self.brush.lit(pick(rng, WALLS), between(rng, 0.1, 0.7), 0.0)

            def corners(left: float, right: float, low: float, high: float) -> list[Pixel]:
                at = ((left, low), (right, low), (right, high), (left, high))
                return [self.spot(a, h, max(2.0, away + slope * a)) for a, h in at]

            self._fill(corners(start, end, 0, tall), wall, between(rng, 0.3, 1.2))
            if happens(rng, 0.5):
                self.canvas.polygon(corners(start, end, 0.93 * tall, tall), shaded(wall, 0.7))
            if happens(rng, 0.45):  # a shop
                sign = self.brush.lit(pick(rng, SIGNS), 0.4, 0.0)
                self.canvas.polygon(corners(start, end, 2.7, between(rng, 3.2, 4.2)), sign)
            glass = mixed((50, 58, 68), self.brush.light.shine, between(rng, 0.0, 0.5))
            frame = shaded(wall, pick(rng, (0.75, 1.2)))
            step, storey, sill = between(rng, 2.2, 4), between(rng, 2.6, 3.4), between(rng, 0, 1)
            wide, high = step * between(rng, 0.3, 0.75), storey * between(rng, 0.5, 0.7)
            for floor in range(max(1, int(tall / storey))):
                for column in range(int((end - start) / step)):
                    left, low = start + (column + 0.2) * step, floor * storey + sill
                    self.canvas.polygon(corners(left, left + wide, low, low + high), frame)
                    pane = corners(left + 0.1, left + wide - 0.1, low + 0.1, low + high - 0.1)
                    self.canvas.polygon(pane, shaded(glass, between(rng, 0.7, 1.3)))

    def _hall(self) -> None:
        """A showroom: panels, lamps under the ceiling, and what the floor mirrors of them."""
        rng, away = self.rng, self.vehicle_away + between(self.rng, 4, 15)
        reach = self._reach(away)
        for _ in range(int(rng.integers(2, 7))):
            left = between(rng, -1, 1) * reach
            sides = left, left + between(rng, 1, 6)
            colour = pick(rng, ((240, 240, 240), *CLOTHES))
            colour = mixed(self.brush.light.sky[1], colour, between(rng, 0.1, 0.8))
            self._rectangle(sides, (0, between(rng, 2, 6)), away, colour)
            self._rectangle(sides, (-1.5, 0), away, colour, 0.2)
        for _ in range(int(rng.integers(3, 16))):
            x, y = self.spot(between(rng, -1, 1) * reach, between(rng, 3.5, 7), away)
            radius = self.brush.focal[0] * between(rng, 0.08, 0.25) / away
            self.canvas.ellipse(x, y, (2.4 * radius, 2.4 * radius), WHITE, 0.2)
            self.canvas.ellipse(x, y, (radius, radius), (255, 252, 240))

    def _treeline(self, away: float, height: float) -> None:
        """Woods in the distance."""
        rng, reach = self.rng, self._reach(away)
        leaf = self.brush.lit(pick(rng, LEAVES), 0.3, 0.0)
        leaf = mixed(leaf, self.brush.light.shine, between(rng, 0.0, 0.25))
        tufts = [
            (
                reach * (step / 11 - 1),
                height * between(rng, 0.2, 0.6),
                height * between(rng, 0.25, 0.5),
            )
            for step in range(23)
        ]
        self._crown(tufts, away, leaf)

    def _tree(self, right: float, away: float, height: float) -> None:
        rng, trunk = self.rng, 0.03 * height
        bark = self.brush.lit((92, 76, 62), 0.3, 0.0)
        self._rectangle((right - trunk, right + trunk), (0, 0.6 * height), away, bark)
        tufts = []
        for _ in range(16):
            turn, out = between(rng, 0, 2 * math.pi), between(rng, 0.05, 0.22) * height
            spot = right + out * math.cos(turn), 0.68 * height + out * math.sin(turn)
            tufts.append((*spot, between(rng, 0.06, 0.14) * height))
        self._crown(tufts, away, self.brush.lit(pick(rng, LEAVES), 0.35, 0.1))

    def _other_vehicles(self) -> None:
        """A row of vehicles, parked or queueing behind the main one."""
        rng, (ax, ay), (ex, ey, _) = self.rng, self.ahead, self.brush.eye
        row, turn = self.vehicle_away + between(rng, 5, 11), between(rng, 0, 2 * math.pi)
        start = between(rng, -1.0, 0.4) * self._reach(row)
        for index in range(int(rng.integers(1, 4))):
            right = start + 6.0 * index
            at = ex + ax * row + ay * right, ey + ay * row - ax * right
            vehicle = Vehicle(rng, choose_fleet(rng, happens(rng, STRANGERS)))
            vehicle.draw(self.brush.beside(*at, turn))

    def _person(self, right: float, away: float) -> None:
        """Somebody standing or walking."""
        rng, tall = self.rng, between(self.rng, 1.55, 1.85)
        coat, legs = (self.brush.lit(pick(rng, CLOTHES), 0.4, 0.0) for _ in range(2))
        skin = self.brush.lit(pick(rng, ((216, 174, 144), (150, 104, 76), (96, 66, 50))), 0.3, 0.0)
        stride = between(rng, 0.05, 0.2)
        for side in (-stride, stride):
            self._rectangle((right + side - 0.08, right + side + 0.08), (0, 0.5), away, legs)
        self._rectangle((right - 0.23, right + 0.23), (0.45 * tall, 0.84 * tall), away, coat)
        x, y = self.spot(right, 0.92 * tall, away)
        across, along = (0.12 * focal / away for focal in self.brush.focal)
        self.canvas.ellipse(x, y, (across, along), skin)


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
