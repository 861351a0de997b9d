"""One picture: a place, the main vehicle in it, and the faults of a camera."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from vehicle_lightning.synthetic.backdrop import Backdrop, choose_light
from vehicle_lightning.synthetic.canvas import OVERSAMPLING, Canvas, take_position
from vehicle_lightning.synthetic.fleets import choose_fleet
from vehicle_lightning.synthetic.rng import between, happens
from vehicle_lightning.synthetic.vehicle import Vehicle


def draw_picture(rng: Generator, *, emergency: bool, image_size: int) -> Image.Image:
    """A square RGB picture, `image_size` pixels a side, of one main vehicle.

    `emergency` says whether it belongs to police, fire brigade or rescue; all else is up to `rng`.
    """
    vehicle = Vehicle(rng, choose_fleet(rng, emergency))
    body = vehicle.body
    canvas = Canvas(image_size)
    brush = take_position(rng, canvas, choose_light(rng), (body.length, body.width, body.height))
    Backdrop(rng, brush).paint()
    vehicle.draw(brush)
    return _develop(rng, canvas.image.reduce(OVERSAMPLING))


def _develop(rng: Generator, picture: Image.Image) -> Image.Image:
    """Colours, sharpness, exposure, a colour cast, a dim rim and grain of one camera."""
    saturation, contrast = between(rng, 0.6, 1.05), between(rng, 1.05, 1.4)
    exposure = between(rng, 1.0, 1.3)
    matrix: list[float] = []
    for channel in range(3):
        gain = exposure * contrast * between(rng, 0.95, 1.05)
        grey = [gain * (1 - saturation) * share for share in (0.299, 0.587, 0.114)]
        grey[channel] += gain * saturation
        matrix += [*grey, exposure * (1 - contrast) * 110]
    picture = picture.convert("RGB", tuple(matrix))
    size = picture.width
    if happens(rng, 0.25):
        picture = picture.filter(ImageFilter.GaussianBlur(size / 224 * between(rng, 0.3, 1.0)))
    offset = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    rim = 1.0 - np.float32(between(rng, 0.0, 0.12)) * (offset[:, None] + offset[None, :])
    # The sum of two random bytes is bell-shaped enough, and ten times faster than normal numbers.
    draws = np.frombuffer(rng.bytes(2 * size * size), dtype=np.uint8).reshape(2, size, size)
    grain = (draws[0].astype(np.float32) + draws[1] - 255.0) * (between(rng, 0.5, 5.0) / 104.0)
    pixels = np.asarray(picture) * rim[..., None] + grain[..., None].astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
