"""The hour and the weather: how things are lit, and what the air and the lens do to them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from vehicle_lightning.synthetic.drawing.canvas import OVERSAMPLING, Canvas, Colour, Light
from vehicle_lightning.synthetic.drawing.chance import between, happens, pick


@dataclass(frozen=True)
class Hour:
    """A time of the day, and how often it is."""

    share: float
    ambient: Colour
    sunshine: Colour
    sun_height: tuple[float, float]  # degrees
    skies: tuple[tuple[Colour, Colour], ...]  # top and horizon
    lamps_on: bool = False


HOURS = (
    Hour(
        0.5, (0.72, 0.74, 0.79), (0.58, 0.54, 0.47), (25, 65),
        (((70, 128, 202), (186, 212, 234)), ((104, 152, 206), (212, 224, 232)),
         ((126, 160, 196), (226, 226, 220))),
    ),
    Hour(
        0.3, (1.0, 1.01, 1.03), (0.14, 0.14, 0.14), (50, 70),
        (((150, 158, 168), (206, 210, 214)), ((176, 180, 184), (222, 222, 220)),
         ((120, 128, 138), (190, 194, 198))),
    ),
    Hour(
        0.11, (0.64, 0.61, 0.68), (0.54, 0.4, 0.26), (6, 18),
        (((78, 92, 150), (244, 186, 130)), ((98, 84, 130), (238, 150, 110)),
         ((60, 80, 120), (214, 190, 180))),
        lamps_on=True,
    ),
    Hour(
        0.09, (0.46, 0.48, 0.56), (0.05, 0.05, 0.04), (60, 80),
        (((12, 16, 34), (40, 46, 70)), ((8, 10, 20), (58, 50, 50)), ((20, 26, 48), (66, 70, 92))),
        lamps_on=True,
    ),
)  # fmt: skip


def choose_light(rng: Generator) -> Light:
    """The light of a random hour under a random sky; fog now and then."""
    hour = pick(rng, HOURS, [hour.share for hour in HOURS])
    height = math.radians(between(rng, *hour.sun_height))
    around = between(rng, 0, 2 * math.pi)
    flat = math.cos(height)
    sun = (flat * math.cos(around), flat * math.sin(around), math.sin(height))
    haze = between(rng, 0.012, 0.035) if happens(rng, 0.09) else between(rng, 0.0005, 0.004)
    return Light(hour.ambient, hour.sunshine, sun, pick(rng, hour.skies), haze, hour.lamps_on)


def develop(rng: Generator, canvas: Canvas) -> Image.Image:
    """The finished picture: glow of lamps, rain or snow, then the faults of a camera."""
    picture = canvas.image.reduce(OVERSAMPLING)
    if canvas.glows:
        picture = ImageChops.screen(picture, _glows(canvas, picture.width))
    weather = pick(rng, ("dry", "rain", "snow"), (0.84, 0.1, 0.06))
    if weather != "dry":
        picture = _fall(rng, picture, snow=weather == "snow")
    picture = ImageEnhance.Color(picture).enhance(between(rng, 0.7, 1.2))
    picture = ImageEnhance.Contrast(picture).enhance(between(rng, 0.9, 1.3))
    if happens(rng, 0.18):
        radius = picture.width / 224 * between(rng, 0.4, 1.1)
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
    return _sensor(rng, picture)


def _glows(canvas: Canvas, size: int) -> Image.Image:
    """Halos around the lamps, soft because they are painted small."""
    small = size // 2
    scale = small / canvas.size
    light = Image.new("RGB", (small, small))
    draw = ImageDraw.Draw(light)
    for glow in sorted(canvas.glows, key=lambda glow: glow.radius):
        x, y = glow.pixel[0] * scale, glow.pixel[1] * scale
        radius = min(glow.radius * scale, 0.08 * small)
        red, green, blue = (int(0.62 * part) for part in glow.colour)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))
    strength = 1.0 if canvas.light.lamps_on else 0.6
    light = light.filter(ImageFilter.GaussianBlur(0.025 * small))
    light = light.resize((size, size), Image.Resampling.BILINEAR)
    return light.point([int(value * strength) for value in range(256)] * 3)


def _fall(rng: Generator, picture: Image.Image, snow: bool) -> Image.Image:
    draw = ImageDraw.Draw(picture, "RGBA")
    size = picture.width
    slope = between(rng, -0.3, 0.3)
    for x, y, near in rng.random((int(rng.integers(60, 220)), 3)) * (size, size, 1.0):
        if snow:
            radius = size / 224 * (0.4 + 1.3 * near * near)
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=(245, 246, 250, int(120 + 100 * near)))
        else:
            length = size * (0.02 + 0.05 * near)
            end = (x + slope * length, y + length)
            draw.line(((x, y), end), fill=(215, 220, 228, int(40 + 70 * near)), width=1)
    return picture


def _sensor(rng: Generator, picture: Image.Image) -> Image.Image:
    """Exposure, a colour cast, a dim rim, and grain."""
    size = picture.width
    pixels = np.asarray(picture, dtype=np.float32)
    cast = rng.uniform(0.93, 1.07, size=3) * between(rng, 0.92, 1.22)
    offset = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    rim = 1.0 - between(rng, 0.0, 0.14) * (offset[:, None] + offset[None, :])
    amount = between(rng, 0.5, 5.0)
    # The sum of two random bytes is bell-shaped enough, and ten times faster than normal numbers.
    draws = np.frombuffer(rng.bytes(2 * size * size * 3), dtype=np.uint8).reshape(2, size, size, 3)
    grain = (draws[0].astype(np.float32) + draws[1] - 255.0) * (amount / 104.0)
    pixels = pixels * (cast.astype(np.float32) * rim[..., None]) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
