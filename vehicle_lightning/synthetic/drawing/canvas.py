"""Lit, hazy, anti-aliased painting of things that stand in the world."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vehicle_lightning.synthetic.drawing.camera import Pixel, Point, View

Colour = tuple[float, float, float]  # red, green and blue, each from 0 to 255

OVERSAMPLING = 2  # the canvas is this many times finer than the finished picture


@dataclass(frozen=True, slots=True)
class Light:
    """The light of the hour and the air between the camera and things."""

    ambient: Colour  # share of a colour seen in the shade, per channel, 1.0 = all of it
    sunshine: Colour  # added to it where the sun falls on a surface at a right angle
    sun: Point  # unit vector towards the sun
    sky: tuple[Colour, Colour]  # at the top of the picture, and at the horizon
    haze: float  # share of a colour lost to the air per metre
    lamps_on: bool


@dataclass(frozen=True, slots=True)
class Glow:
    """A lamp that shines into the lens."""

    pixel: Pixel
    radius: float  # pixels
    colour: Colour


class Canvas:
    """The picture being painted, `size` finished pixels a side, and the lamps that light it."""

    def __init__(self, size: int, light: Light) -> None:
        self.size = size * OVERSAMPLING
        self.image = Image.new("RGB", (self.size, self.size))
        self.opaque = ImageDraw.Draw(self.image)
        self.blending = ImageDraw.Draw(self.image, "RGBA")
        self.light = light
        self.glows: list[Glow] = []

    def polygon(self, pixels: Sequence[Pixel], ink: tuple[int, int, int, int]) -> None:
        """A filled polygon; solid inks take the faster way."""
        if ink[3] == 255:
            self.opaque.polygon(pixels, fill=ink[:3])
        else:
            self.blending.polygon(pixels, fill=ink)


class Brush:
    """Paints polygons given in metres in the frame of one object."""

    def __init__(self, canvas: Canvas, view: View) -> None:
        self.canvas = canvas
        self.view = view

    def beside(self, x: float, y: float, heading: float = 0.0) -> "Brush":
        """A brush for an object standing at (x, y), turned left by `heading` radians."""
        return Brush(self.canvas, self.view.beside(x, y, heading))

    def face(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        """A flat face, its corners counter-clockwise seen from outside; nothing from behind."""
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[:3]
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        ex, ey, ez = self.view.eye
        if nx * (ex - ax) + ny * (ey - ay) + nz * (ez - az) <= 0:
            return
        norm = math.sqrt(nx * nx + ny * ny + nz * nz)
        sun = self.view.sun
        lambert = max(0.0, (nx * sun[0] + ny * sun[1] + nz * sun[2]) / norm)
        self.fill(points, colour, alpha, self._level(lambert, nz / norm))

    def fill(
        self,
        points: Sequence[Point],
        colour: Colour,
        alpha: float = 1.0,
        level: Colour | None = None,
    ) -> None:
        """A polygon seen from both sides, under the given level of light (default: half sun)."""
        pixels, depth = self.view.project(points)
        if len(pixels) > 2:
            ink = self._ink(colour, level or self._level(0.5, 0.3), depth, alpha)
            self.canvas.polygon(pixels, ink)

    def ground(
        self, corners: Sequence[tuple[float, float]], colour: Colour, alpha: float = 1.0
    ) -> None:
        """A polygon on the ground; the air in front of it is painted later, over all ground."""
        pixels, _ = self.view.project([(x, y, 0.0) for x, y in corners])
        if len(pixels) > 2:
            level = self._level(max(0.0, self.view.sun[2]), 1.0)
            self.canvas.polygon(pixels, self._ink(colour, level, 0.0, alpha))

    def veil(self, points: Sequence[Point], colour: Colour, alpha: float) -> None:
        """A polygon of air: unlit, half transparent."""
        pixels, _ = self.view.project(points)
        if len(pixels) > 2:
            self.canvas.polygon(pixels, self._ink(colour, (1, 1, 1), 0.0, alpha))

    def shine(self, points: Sequence[Point], colour: Colour) -> None:
        """A polygon that gives its own light, whatever the hour."""
        self.fill(points, colour, level=(1.0, 1.0, 1.0))

    def line(self, points: Sequence[Point], colour: Colour, width: float, alpha: float = 1) -> None:
        """An open line, `width` metres thick."""
        pixels, depth = self.view.project(points)
        if len(pixels) > 1:
            ink = self._ink(colour, self._level(0.5, 0.3), depth, alpha)
            thickness = max(1, round(self.view.focal * width / depth))
            self.canvas.blending.line(pixels, fill=ink, width=thickness, joint="curve")

    def ball(self, centre: Point, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """A round thing, `radius` in metres."""
        pixels, depth = self.view.project([centre])
        if pixels and depth > radius:
            (x, y), r = pixels[0], self.view.focal * radius / depth
            ink = self._ink(colour, self._level(0.5, 0.3), depth, alpha)
            self.canvas.blending.ellipse((x - r, y - r, x + r, y + r), fill=ink)

    def board(self, foot: Point, shape: Sequence[Pixel], colour: Colour, alpha: float = 1) -> None:
        """A flat shape that faces the camera: (metres to the right of the foot, metres above)."""
        rx, ry, _ = self.view.right
        points = [(foot[0] + a * rx, foot[1] + a * ry, foot[2] + b) for a, b in shape]
        self.fill(points, colour, alpha)

    def box(self, low: Point, high: Point, colour: Colour, alpha: float = 1.0) -> None:
        """An upright box between two opposite corners; only the sides seen are painted."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        for corners in (
            ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
            ((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)),
            ((x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)),
            ((x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)),
            ((x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)),
        ):
            self.face(corners, colour, alpha)

    def lamp(self, centre: Point, radius: float, colour: Colour) -> None:
        """A round lamp that gives its own light, `radius` in metres."""
        pixels, depth = self.view.project([centre])
        if pixels:
            (x, y), r = pixels[0], self.view.focal * radius / depth
            ink = self._ink(colour, (1.0, 1.0, 1.0), depth, 1.0)
            self.canvas.blending.ellipse((x - r, y - r, x + r, y + r), fill=ink)

    def glow(self, centre: Point, radius: float, colour: Colour) -> None:
        """A halo around a lamp, `radius` in metres; what stands in front does not hide it."""
        pixels, depth = self.view.project([centre])
        if pixels:
            size = self.view.focal * radius / depth
            self.canvas.glows.append(Glow(pixels[0], size, colour))

    def text(
        self, corners: Sequence[Point], words: str, colour: Colour, mirrored: bool = False
    ) -> None:
        """Lettering stretched over a quadrilateral: top left, top right, bottom right, left.

        Nothing is seen from behind; `mirrored` writes it to be read in a driving mirror.
        """
        pixels, depth = self.view.project(corners)
        if len(pixels) != 4 or abs(pixels[0][1] - pixels[3][1]) < 2 * OVERSAMPLING:
            return
        (ax, ay), (bx, by), (cx, cy) = pixels[:3]
        if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) <= 0:
            return
        edge = self.canvas.size
        left = max(0, math.floor(min(x for x, _ in pixels)))
        top = max(0, math.floor(min(y for _, y in pixels)))
        right = min(edge, math.ceil(max(x for x, _ in pixels)))
        bottom = min(edge, math.ceil(max(y for _, y in pixels)))
        if right - left < 2 or bottom - top < 2:
            return
        stencil = _stencil(words, mirrored)
        placed = [(x - left, y - top) for x, y in pixels]
        mask = stencil.transform(
            (right - left, bottom - top),
            Image.Transform.PERSPECTIVE,
            _perspective(placed, *stencil.size),
            Image.Resampling.BILINEAR,
        )
        ink = self._ink(colour, self._level(0.5, 0.1), depth, 1.0)[:3]
        self.canvas.image.paste(ink, (left, top, right, bottom), mask)

    def _level(self, lambert: float, upward: float) -> Colour:
        """Light on a surface; those facing up see more of the sky."""
        shade = 0.82 + 0.18 * upward
        (ar, ag, ab), (sr, sg, sb) = self.canvas.light.ambient, self.canvas.light.sunshine
        return ar * shade + sr * lambert, ag * shade + sg * lambert, ab * shade + sb * lambert

    def _ink(
        self, colour: Colour, level: Colour, depth: float, alpha: float
    ) -> tuple[int, int, int, int]:
        light = self.canvas.light
        kept = math.exp(-light.haze * depth)
        lost = 1.0 - kept
        (red, green, blue), (air_red, air_green, air_blue) = colour, light.sky[1]
        return (
            min(255, int(kept * red * level[0] + lost * air_red)),
            min(255, int(kept * green * level[1] + lost * air_green)),
            min(255, int(kept * blue * level[2] + lost * air_blue)),
            int(255 * alpha),
        )


@lru_cache(maxsize=256)
def _stencil(words: str, mirrored: bool) -> Image.Image:
    """White words on black, cut to the letters."""
    font = ImageFont.load_default(size=44)
    left, top, right, bottom = font.getbbox(words, stroke_width=2)
    stencil = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(stencil).text((-left, -top), words, fill=255, font=font, stroke_width=2)
    return ImageOps.mirror(stencil) if mirrored else stencil


def _perspective(corners: Sequence[Pixel], width: int, height: int) -> tuple[float, ...]:
    """Coefficients that Pillow needs to stretch a width x height image over four corners."""
    rows, values = [], []
    for (x, y), (u, v) in zip(
        corners, ((0, 0), (width, 0), (width, height), (0, height)), strict=True
    ):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    try:
        solution: list[float] = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    except np.linalg.LinAlgError:  # seen edge-on: the four corners lie on a line
        return (0.0, 0.0, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0)
    return tuple(solution)
