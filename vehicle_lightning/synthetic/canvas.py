"""The picture being painted, and a brush that paints in metres through a pinhole camera.

The world: x runs along the main vehicle towards its front, y to its left, z up from the ground.
Whatever is painted later hides what was painted before, so things are painted from far to near.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from vehicle_lightning.synthetic.rng import between, happens, pick

Colour = tuple[float, float, float]  # red, green and blue, each from 0 to 255
Point = tuple[float, float, float]
Pixel = tuple[float, float]

OVERSAMPLING = 2  # the canvas is this many times finer than the finished picture
NEAREST = 0.5  # metres; polygons that reach nearer to the camera are left out
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)


def shaded(colour: Colour, share: float) -> Colour:
    """A colour, darker or brighter."""
    return colour[0] * share, colour[1] * share, colour[2] * share


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Light:
    """How a place is lit."""

    ambient: Colour  # share of a colour seen in the shade, per channel, 1.0 = all of it
    sunshine: Colour  # added to it where the sun falls on a surface at a right angle
    sun: Point  # unit vector towards the sun
    shine: Colour  # what glass and paint mirror
    sky: tuple[Colour, Colour]  # at the top, and at the horizon
    indoors: bool


class Canvas:
    """The picture being painted, `size` finer pixels a side."""

    def __init__(self, image_size: int) -> None:
        self.size = image_size * OVERSAMPLING
        self.image = Image.new("RGB", (self.size, self.size))
        self.opaque = ImageDraw.Draw(self.image)
        self.blending = ImageDraw.Draw(self.image, "RGBA")

    def polygon(self, pixels: Sequence[Pixel], colour: Colour, alpha: float = 1.0) -> None:
        """A filled polygon; an opaque one takes the faster way."""
        red, green, blue = colour
        ink = (min(255, int(red)), min(255, int(green)), min(255, int(blue)))
        if alpha >= 1:
            self.opaque.polygon(pixels, fill=ink)
        else:
            self.blending.polygon(pixels, fill=(*ink, int(255 * alpha)))

    def ellipse(
        self, x: float, y: float, radius: Pixel, colour: Colour, alpha: float = 1.0
    ) -> None:
        """A filled ellipse around (x, y)."""
        ink = (*(min(255, int(part)) for part in colour), int(255 * alpha))
        box = (x - radius[0], y - radius[1], x + radius[0], y + radius[1])
        self.blending.ellipse(box, fill=ink)


@dataclass(frozen=True, slots=True)
class Brush:
    """Paints polygons given in metres in the frame of one object."""

    canvas: Canvas
    light: Light
    eye: Point
    right: Point
    down: Point
    forward: Point
    focal: Pixel  # pixels, across and down
    centre: Pixel  # where the optical axis meets the picture

    def beside(self, x: float, y: float, heading: float) -> "Brush":
        """A brush for an object standing at (x, y), turned left by `heading` radians."""
        cos, sin = math.cos(heading), math.sin(heading)

        def turned(vector: Point) -> Point:
            a, b, c = vector
            return cos * a + sin * b, cos * b - sin * a, c

        return replace(
            self,
            light=replace(self.light, sun=turned(self.light.sun)),
            eye=turned((self.eye[0] - x, self.eye[1] - y, self.eye[2])),
            right=turned(self.right),
            down=turned(self.down),
            forward=turned(self.forward),
        )

    def depth(self, point: Point) -> float:
        """Metres from the camera to a point, along the optical axis."""
        return sum((p - e) * f for p, e, f in zip(point, self.eye, self.forward, strict=True))

    def project(self, points: Sequence[Point]) -> list[Pixel]:
        """Pixels of a polygon, none when it reaches too near to the camera."""
        (ex, ey, ez), (fx, fy, fz) = self.eye, self.forward
        (rx, ry, rz), (dx, dy, dz) = self.right, self.down
        (cx, cy), (across, along) = self.centre, self.focal
        pixels = []
        for px, py, pz in points:
            x, y, z = px - ex, py - ey, pz - ez
            depth = x * fx + y * fy + z * fz
            if depth < NEAREST:
                return []
            pixels.append(
                (
                    cx + across * (x * rx + y * ry + z * rz) / depth,
                    cy + along * (x * dx + y * dy + z * dz) / depth,
                )
            )
        return pixels

    def face(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        """A flat face, its corners counter-clockwise seen from outside; nothing from behind."""
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[:3]
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        ex, ey, ez = self.eye
        if nx * (ex - ax) + ny * (ey - ay) + nz * (ez - az) <= 0:
            return
        norm = math.sqrt(nx * nx + ny * ny + nz * nz)
        sun = self.light.sun
        lambert = max(0.0, (nx * sun[0] + ny * sun[1] + nz * sun[2]) / norm)
        self.fill(points, self.lit(colour, lambert, nz / norm), alpha)

    def fill(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        """A polygon seen from both sides, in this very colour."""
        pixels = self.project(points)
        if len(pixels) > 2:
            self.canvas.polygon(pixels, colour, alpha)

    def box(self, low: Point, high: Point, colour: Colour) -> None:
        """An upright box between two opposite corners; only the sides seen are painted."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        for corners in (
            ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
            ((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)),
            ((x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)),
            ((x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)),
            ((x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)),
        ):
            self.face(corners, colour)

    def lamp(self, centre: Point, radius: float, colour: Colour) -> None:
        """A round lamp that shines into the lens, `radius` in metres."""
        pixels = self.project([centre])
        if pixels:
            depth = self.depth(centre)
            size = (self.focal[0] * radius / depth, self.focal[1] * radius / depth)
            for growth, alpha in ((2.6, 0.16), (1.8, 0.25)):
                grown = (growth * size[0], growth * size[1])
                self.canvas.ellipse(*pixels[0], grown, colour, alpha)
            self.canvas.ellipse(*pixels[0], size, mixed(colour, WHITE, 0.5))

    def text(self, corners: Sequence[Point], words: str, colour: Colour) -> None:
        """Words stretched over a quadrilateral: top left, top right, bottom right, bottom left.

        Nothing is seen from behind, nor of letters less than a finished pixel tall.
        """
        pixels = self.project(corners)
        if not pixels or abs(pixels[0][1] - pixels[3][1]) < OVERSAMPLING:
            return
        (ax, ay), (bx, by), _, (dx, dy) = pixels
        if (bx - ax) * (dy - ay) - (by - ay) * (dx - ax) <= 1:
            return
        left, top = (max(0, math.floor(min(values))) for values in zip(*pixels, strict=True))
        right, bottom = (
            min(self.canvas.size, math.ceil(max(values))) for values in zip(*pixels, strict=True)
        )
        if right - left < 2 or bottom - top < 2:
            return
        stencil = _stencil(words)
        (ux, uy), (vx, vy) = (bx - ax, by - ay), (dx - ax, dy - ay)
        across, down = stencil.width / (ux * vy - uy * vx), stencil.height / (ux * vy - uy * vx)
        x, y = left - ax, top - ay
        mask = stencil.transform(
            (right - left, bottom - top),
            Image.Transform.AFFINE,
            (
                across * vy, -across * vx, across * (x * vy - y * vx),
                -down * uy, down * ux, down * (y * ux - x * uy),
            ),
            Image.Resampling.BILINEAR,
        )  # fmt: skip
        ink = tuple(min(255, int(part)) for part in self.lit(colour, 0.5, 0.0))
        self.canvas.image.paste(ink, (left, top, right, bottom), mask)

    def lit(self, colour: Colour, lambert: float, upward: float) -> Colour:
        """A colour under the light of the place; surfaces facing up see more of the sky."""
        shade = 0.82 + 0.18 * upward
        (ar, ag, ab), (sr, sg, sb) = self.light.ambient, self.light.sunshine
        red, green, blue = colour
        return (
            red * (ar * shade + sr * lambert),
            green * (ag * shade + sg * lambert),
            blue * (ab * shade + sb * lambert),
        )


# Angle of the camera around the vehicle in degrees (0 looks at the front, 90 at a side).
ANGLES = (
    (-10, 10), (20, 45), (25, 50), (25, 50), (30, 55), (45, 70), (50, 75), (75, 100), (115, 155),
    (168, 192),
)  # fmt: skip


def take_position(
    rng: Generator, canvas: Canvas, light: Light, size: tuple[float, float, float]
) -> Brush:
    """Stand in front of a vehicle of the given length, width and height in metres.

    As in photographs that were brought to a square, the vehicle fills most of the frame and is
    narrower than it was.
    """
    length, width, height = size
    angle = math.radians(between(rng, *pick(rng, ANGLES)) * pick(rng, (1, -1)))
    away = 0.5 * length + between(rng, 2.2, 6.5)
    eye_height = between(rng, 1.2, 2.1)
    pitch = math.atan2(0.45 * height - eye_height, away)  # upwards
    (ca, sa), (cp, sp) = ((math.cos(turn), math.sin(turn)) for turn in (angle, pitch))
    eye, right = (away * ca, away * sa, eye_height), (-sa, ca, 0.0)
    forward, down = (-ca * cp, -sa * cp, sp), (-sp * ca, -sp * sa, -cp)
    squash = between(rng, 0.68, 0.92)
    unit = Brush(canvas, light, eye, right, down, forward, (squash, 1.0), (0.0, 0.0))
    corners = [
        (sx * 0.48 * length, sy * 0.5 * width, z)
        for sx in (-1, 1) for sy in (-1, 1) for z in (0.0, height)
    ]  # fmt: skip
    xs, ys = zip(*unit.project(corners), strict=True)
    share = between(rng, 0.5, 0.78) if happens(rng, 0.12) else between(rng, 0.88, 1.12)
    focal = share * canvas.size / max(max(xs) - min(xs), 1.2 * (max(ys) - min(ys)))
    slack = 0.5 * max(0.06, 0.9 - share)
    centre = (
        canvas.size * (0.5 + between(rng, -slack, slack)) - focal * 0.5 * (max(xs) + min(xs)),
        canvas.size * (0.52 + between(rng, -slack, slack)) - focal * 0.5 * (max(ys) + min(ys)),
    )
    return Brush(canvas, light, eye, right, down, forward, (focal * squash, focal), centre)


@lru_cache(maxsize=256)
def _stencil(words: str) -> Image.Image:
    """White words on black, cut to the letters."""
    font = ImageFont.load_default(size=40)
    left, top, right, bottom = font.getbbox(words, stroke_width=2)
    stencil = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(stencil).text((-left, -top), words, fill=255, font=font, stroke_width=2)
    return stencil
