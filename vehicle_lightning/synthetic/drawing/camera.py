"""A pinhole camera, and the choice of where it stands in front of the main vehicle.

The world is in metres: x runs along the road, y to the left of x, z up from the ground.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from vehicle_lightning.synthetic.drawing.chance import between, happens, pick

Point = tuple[float, float, float]
Pixel = tuple[float, float]

NEAREST = 0.4  # metres; whatever is nearer to the camera is cut away


@dataclass(frozen=True, slots=True)
class View:
    """A camera and the direction of the sun, in the frame of whatever is being drawn."""

    eye: Point
    right: Point
    down: Point
    forward: Point
    sun: Point
    focal: float  # pixels
    centre: Pixel  # where the optical axis meets the picture

    def beside(self, x: float, y: float, heading: float) -> "View":
        """The same view in the frame of an object at (x, y), turned left by `heading` radians."""
        cos, sin = math.cos(heading), math.sin(heading)

        def turned(vector: Point) -> Point:
            return (
                cos * vector[0] + sin * vector[1],
                cos * vector[1] - sin * vector[0],
                vector[2],
            )

        return replace(
            self,
            eye=turned((self.eye[0] - x, self.eye[1] - y, self.eye[2])),
            right=turned(self.right),
            down=turned(self.down),
            forward=turned(self.forward),
            sun=turned(self.sun),
        )

    def depth(self, point: Point) -> float:
        """Metres from the camera to a point, measured along the optical axis."""
        return self._along(self.forward, point)

    def project(self, points: Sequence[Point]) -> tuple[list[Pixel], float]:
        """Pixels of a polygon, cut at the nearest distance, and its mean depth in metres."""
        ex, ey, ez = self.eye
        rx, ry, rz = self.right
        dx, dy, dz = self.down
        fx, fy, fz = self.forward
        cx, cy = self.centre
        focal = self.focal
        pixels: list[Pixel] = []
        total = 0.0
        for px, py, pz in points:
            x, y, z = px - ex, py - ey, pz - ez
            depth = x * fx + y * fy + z * fz
            if depth < NEAREST:
                return self._project_cut(points)
            scale = focal / depth
            pixels.append(
                (cx + scale * (x * rx + y * ry + z * rz), cy + scale * (x * dx + y * dy + z * dz))
            )
            total += depth
        return pixels, total / len(points)

    def _project_cut(self, points: Sequence[Point]) -> tuple[list[Pixel], float]:
        along = self._along
        seen = _cut_near(
            [(along(self.right, p), along(self.down, p), along(self.forward, p)) for p in points]
        )
        if not seen:
            return [], 0.0
        cx, cy = self.centre
        pixels = [(cx + self.focal * x / z, cy + self.focal * y / z) for x, y, z in seen]
        return pixels, sum(z for _, _, z in seen) / len(seen)

    def _along(self, axis: Point, point: Point) -> float:
        return sum((p - e) * a for p, e, a in zip(point, self.eye, axis, strict=True))


def _cut_near(polygon: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for index, here in enumerate(polygon):
        before = polygon[index - 1]
        if (here[2] < NEAREST) != (before[2] < NEAREST):
            share = (NEAREST - before[2]) / (here[2] - before[2])
            x = before[0] + share * (here[0] - before[0])
            y = before[1] + share * (here[1] - before[1])
            kept.append((x, y, NEAREST))
        if here[2] >= NEAREST:
            kept.append(here)
    return kept


# Angle of the camera around the vehicle in degrees (0 looks at the front, 90 at a side), by pose.
POSES = ((-12.0, 12.0), (20.0, 45.0), (45.0, 72.0), (72.0, 100.0), (105.0, 160.0), (168.0, 192.0))
POSE_WEIGHTS = (0.10, 0.24, 0.24, 0.18, 0.16, 0.08)
# Height of the camera in metres: crouching, standing, on a balcony or a bridge.
HEIGHTS = ((0.8, 1.3), (1.4, 2.0), (2.4, 5.0))
HEIGHT_WEIGHTS = (0.2, 0.65, 0.15)


def choose_view(
    rng: Generator, length: float, width: float, height: float, sun: Point, pixels: int
) -> View:
    """Stand in front of a vehicle of the given size (metres) at the origin, heading along x.

    The vehicle mostly fits the square picture of `pixels` a side; now and then the border cuts it.
    """
    angle = math.radians(between(rng, *pick(rng, POSES, POSE_WEIGHTS)))
    if happens(rng, 0.5):
        angle = -angle
    focal = between(rng, 0.95, 1.9)
    extent = max(
        length * abs(math.sin(angle)) + width * abs(math.cos(angle)), 1.15 * height, 0.45 * length
    )
    share = between(rng, 0.95, 1.15) if happens(rng, 0.12) else between(rng, 0.7, 0.96)
    # The nearer end of the vehicle is what fills the frame when looking along it.
    distance = focal * extent / share + 0.45 * length * abs(math.cos(angle))
    eye = (
        distance * math.cos(angle),
        distance * math.sin(angle),
        between(rng, *pick(rng, HEIGHTS, HEIGHT_WEIGHTS)),
    )
    slack = 0.35 * max(0.08, 0.95 - share)
    centre = (
        pixels * (0.5 + between(rng, -slack, slack)),
        pixels * (0.53 + between(rng, -slack, slack) * 0.6),
    )
    roll = math.radians(between(rng, -2.5, 2.5))
    return _look(eye, (0.0, 0.0, 0.5 * height), roll, sun, focal * pixels, centre)


def _look(eye: Point, target: Point, roll: float, sun: Point, focal: float, centre: Pixel) -> View:
    ahead = [t - e for t, e in zip(target, eye, strict=True)]
    norm = math.hypot(*ahead)
    fx, fy, fz = (a / norm for a in ahead)
    flat = math.hypot(fx, fy)
    right = (fy / flat, -fx / flat, 0.0)
    down = (fz * fx / flat, fz * fy / flat, -flat)
    cos, sin = math.cos(roll), math.sin(roll)
    rx, ry, rz = (cos * r + sin * d for r, d in zip(right, down, strict=True))
    dx, dy, dz = (cos * d - sin * r for r, d in zip(right, down, strict=True))
    return View(eye, (rx, ry, rz), (dx, dy, dz), (fx, fy, fz), sun, focal, centre)
