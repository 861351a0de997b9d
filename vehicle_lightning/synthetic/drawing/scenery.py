"""Single things of the surroundings: sky and ground, houses, trees, people, posts."""

import math
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from PIL import Image

from vehicle_lightning.synthetic.drawing.camera import Pixel
from vehicle_lightning.synthetic.drawing.canvas import Brush, Colour
from vehicle_lightning.synthetic.drawing.chance import between, happens, pick

WARM: Colour = (255, 214, 140)
PANE: Colour = (62, 74, 88)
WALLS: tuple[Colour, ...] = (
    (176, 98, 74), (150, 84, 66), (206, 190, 160), (222, 214, 200), (188, 178, 168),
    (160, 166, 172), (214, 176, 120), (196, 204, 206), (226, 206, 150), (142, 156, 148),
    (198, 150, 140), (120, 132, 150),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((96, 62, 52), (74, 76, 82), (128, 74, 56), (84, 72, 66))
LEAVES: tuple[Colour, ...] = (
    (62, 104, 48), (84, 124, 52), (48, 88, 56), (112, 128, 56), (170, 120, 44), (146, 74, 40),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (40, 44, 60), (150, 40, 40), (30, 66, 186), (210, 200, 180), (70, 110, 80), (214, 170, 60),
    (30, 30, 32), (120, 90, 130), (230, 230, 230), (26, 52, 168), (196, 34, 36), (74, 128, 214),
)  # fmt: skip


def sky(rng: Generator, brush: Brush) -> None:
    """A gradient with soft clouds over the whole canvas."""
    canvas = brush.canvas
    size, half = canvas.size, canvas.size // 2
    top, horizon = (np.array(colour) for colour in canvas.light.sky)
    share = np.clip(np.linspace(0, 1.7, size), 0, 1)[:, None]
    column = (top * (1 - share) + horizon * share).astype(np.uint8)[:, None, :]
    gradient = Image.fromarray(column).resize((size, size), Image.Resampling.NEAREST)
    canvas.image.paste(gradient)
    density = int(between(rng, 40, 190))
    clouds = rng.integers(0, 256, (6, 5)).astype(np.float32) - (255 - density)
    mask = Image.fromarray(np.clip(1.6 * clouds, 0, 190).astype(np.uint8))
    soft = mask.resize((size, half), Image.Resampling.BICUBIC)
    bright = [min(255, int(part * 1.12 + 8)) for part in canvas.light.sky[1]]
    canvas.image.paste((bright[0], bright[1], bright[2]), (0, 0), soft)


def ring(brush: Brush, near: float, far: float, side: float) -> list[Pixel]:
    """The ground between two distances in front of the camera, `side` times as wide as far."""
    view = brush.view
    flat = math.hypot(view.forward[0], view.forward[1])
    fx, fy = view.forward[0] / flat, view.forward[1] / flat
    return [
        (view.eye[0] + fx * d - fy * s * d * side, view.eye[1] + fy * d + fx * s * d * side)
        for d, s in ((near, -1), (near, 1), (far, 1), (far, -1))
    ]


def earth(rng: Generator, brush: Brush, colour: Colour) -> None:
    """The ground up to the horizon, mottled."""
    brush.ground(ring(brush, 0.05, 9000.0, 60.0), colour)
    for _ in range(14):
        spread = between(rng, 0.5, 4.0)
        x, y = between(rng, -25, 25), between(rng, -25, 25)
        blot = [
            (x + 2 * spread * math.cos(a) * between(rng, 0.6, 1.2), y + spread * math.sin(a))
            for a in (k * math.pi / 4 for k in range(8))
        ]
        brush.ground(blot, pick(rng, ((0, 0, 0), (255, 255, 255))), 0.05)


def mist(brush: Brush) -> None:
    """The air over the ground, thicker with distance."""
    air, haze = brush.canvas.light.sky[1], brush.canvas.light.haze
    distances = (2, 4, 6, 8, 11, 15, 20, 26, 34, 46, 64, 95, 160, 320, 800, 9000)
    for near, far in pairwise(distances):
        points = [(x, y, 0.0) for x, y in ring(brush, near, far, 4.0)]
        brush.veil(points, air, 1 - math.exp(-haze * min(0.5 * (near + far), 1500)))


def texture(rng: Generator, brush: Brush) -> None:
    """Faint unevenness over everything painted so far, strongest near the camera."""
    canvas = brush.canvas
    size, half = canvas.size, canvas.size // 2
    coarse = rng.integers(0, 40, (half // 4, size // 8))
    stronger = np.linspace(0, 1, len(coarse))[:, None]
    mask = Image.fromarray((coarse * stronger).astype(np.uint8))
    soft = mask.resize((size, half), Image.Resampling.BILINEAR)
    canvas.image.paste((0, 0, 0), (0, half), soft)


def hills(rng: Generator, brush: Brush, colour: Colour) -> None:
    """A far rolling skyline."""
    eye = brush.view.eye
    for distance, height in ((900.0, 60.0), (500.0, 22.0)):
        phase = [between(rng, 0, 7) for _ in range(3)]
        shade = between(rng, 0.75, 1.1)
        ridge = []
        for step in range(40):
            a = 2 * math.pi * step / 40
            swell = sum(math.sin((2 + 3 * k) * a + p) / (k + 1) for k, p in enumerate(phase))
            ridge.append((a, height * max(0.05, 0.5 + 0.4 * swell)))
        for (a0, h0), (a1, h1) in zip(ridge, ridge[1:] + ridge[:1], strict=True):
            foot = [
                (eye[0] + distance * math.cos(a), eye[1] + distance * math.sin(a)) for a in (a0, a1)
            ]
            brush.fill(
                [(*foot[0], -2.0), (*foot[1], -2.0), (*foot[1], h1), (*foot[0], h0)],
                (colour[0] * shade, colour[1] * shade, colour[2] * shade),
            )


def house(rng: Generator, brush: Brush, width: float, depth: float, floors: int) -> None:
    """A house whose front faces -y and is centred at the origin."""
    wall, roof = pick(rng, WALLS), pick(rng, ROOFS)
    storey = between(rng, 2.8, 3.3)
    height, half = floors * storey, 0.5 * width
    brush.box((-half, 0.0, 0.0), (half, depth, height), wall)
    if happens(rng, 0.6):
        ridge = height + between(rng, 1.6, 3.0)
        eaves = 0.3
        brush.face(
            ((-half, -eaves, height), (half, -eaves, height), (half, depth / 2, ridge),
             (-half, depth / 2, ridge)),
            roof,
        )  # fmt: skip
        for side in (-half, half):
            gable = ((side, 0.0, height), (side, depth, height), (side, depth / 2, ridge))
            brush.face(gable if side > 0 else gable[::-1], wall)
    else:
        brush.box((-half - 0.1, -0.15, height), (half + 0.1, depth, height + 0.35), roof)
    _storeys(rng, brush, half, storey, floors)


def _storeys(rng: Generator, brush: Brush, half: float, storey: float, floors: int) -> None:
    columns = max(2, round(half / 1.4))
    step = 2 * half / columns
    shop = happens(rng, 0.4)
    tall, wide = between(rng, 1.2, 1.8), between(rng, 0.35, 0.6) * step
    lit = 0.35 if brush.canvas.light.lamps_on else 0.0
    for floor in range(1 if shop else 0, floors):
        low = floor * storey + 0.8
        for column in range(columns):
            left = -half + (column + 0.5) * step - 0.5 * wide
            door = floor == 0 and column == columns // 2
            _pane(brush, left, left + wide, 0.0 if door else low, low + tall, happens(rng, lit))
    if shop:
        _pane(brush, -half + 0.5, half - 0.5, 0.5, storey - 0.7, happens(rng, 2 * lit))
        sign: Colour = pick(rng, CLOTHES)
        brush.box((-half, -0.3, storey - 0.65), (half, 0.0, storey - 0.05), sign)
        words = pick(rng, ("CAFE", "BOOKS", "SHOES", "BAKER", "BIKES", "PIZZA", "HOTEL", "BANK"))
        reach = 0.2 * len(words)
        corners = [
            (x, -0.31, storey - z)
            for x, z in ((-reach, 0.12), (reach, 0.12), (reach, 0.58), (-reach, 0.58))
        ]
        brush.text(corners, words, (250, 250, 245) if sum(sign) < 400 else (30, 30, 34))


def _pane(brush: Brush, left: float, right: float, low: float, high: float, lit: bool) -> None:
    corners = ((left, -0.02, low), (right, -0.02, low), (right, -0.02, high), (left, -0.02, high))
    if brush.view.eye[1] > 0:
        return
    if lit:
        brush.shine(corners, WARM)
        return
    brush.face(corners, PANE)
    half = ((left, -0.02, (low + high) / 2), (right, -0.02, (low + high) / 2), *corners[2:])
    brush.face(half, (255, 255, 255), 0.15)


def hall(rng: Generator, brush: Brush, width: float) -> None:
    """A low wide building with large doors, its front facing -y: a depot, a shop, a station."""
    height, half = between(rng, 5.0, 7.5), 0.5 * width
    wall = pick(rng, WALLS)
    brush.box((-half, 0.0, 0.0), (half, 15.0, height), wall)
    brush.box((-half, -0.2, height - 1.0), (half, 0.0, height), pick(rng, CLOTHES))
    door = pick(rng, ((170, 30, 30), (200, 204, 208), (28, 62, 172), (120, 124, 128)))
    count = int(width // 6)
    for index in range(count):
        left = -half + (index + 0.2) * width / count
        right = left + 0.65 * width / count
        _pane(brush, left, right, 0.0, 4.0, False)
        if happens(rng, 0.7):
            shutter = ((left, -0.03, 0), (right, -0.03, 0), (right, -0.03, 4), (left, -0.03, 4))
            brush.face(shutter, door)


def tree(rng: Generator, brush: Brush, height: float) -> None:
    """A round-headed tree at the origin."""
    leaf = pick(rng, LEAVES)
    trunk = 0.025 * height
    shape = ((-trunk, 0), (trunk, 0), (0.7 * trunk, 0.6 * height), (-0.7 * trunk, 0.6 * height))
    brush.board((0, 0, 0), shape, (82, 64, 50))
    rx, ry, _ = brush.view.right
    for step in range(11):
        shade = 0.68 + 0.045 * step
        side, up = between(rng, -0.24, 0.24) * height, (0.5 + 0.032 * step) * height
        colour = (leaf[0] * shade, leaf[1] * shade, leaf[2] * shade)
        brush.ball((side * rx, side * ry, up), between(rng, 0.12, 0.2) * height, colour)


def fir(brush: Brush, height: float) -> None:
    """A pointed tree at the origin."""
    trunk = 0.03 * height
    shape = ((-trunk, 0), (trunk, 0), (trunk, 0.3 * height), (-trunk, 0.3 * height))
    brush.board((0, 0, 0), shape, (76, 60, 48))
    for tier in range(4):
        low, reach = (0.15 + 0.2 * tier) * height, (0.22 - 0.045 * tier) * height
        shade = 0.72 + 0.1 * tier
        cone = ((-reach, low), (reach, low), (0.0, low + 0.36 * height))
        brush.board((0, 0, 0), cone, (44 * shade, 82 * shade, 56 * shade))


def bush(rng: Generator, brush: Brush, height: float) -> None:
    """A low round shrub at the origin."""
    leaf = pick(rng, LEAVES)
    rx, ry, _ = brush.view.right
    for step in range(7):
        shade = 0.65 + 0.06 * step
        side = between(rng, -0.8, 0.8) * height
        colour = (leaf[0] * shade, leaf[1] * shade, leaf[2] * shade)
        brush.ball((side * rx, side * ry, (0.3 + 0.05 * step) * height), 0.4 * height, colour)


def person(rng: Generator, brush: Brush) -> None:
    """Somebody standing or walking at the origin."""
    tall = between(rng, 1.55, 1.85)
    coat, legs = pick(rng, CLOTHES), pick(rng, CLOTHES)
    skin = pick(rng, ((226, 184, 152), (150, 104, 76), (96, 66, 50), (204, 156, 120)))
    stride = between(rng, 0.03, 0.22)
    feet = (0.0, 0.0, 0.0)
    brush.board(feet, ((-0.3, 0.0), (0.3, 0.0), (0.25, 0.04), (-0.25, 0.04)), (0, 0, 0), 0.4)
    hip, neck = 0.5 * tall, 0.83 * tall
    for side in (-1, 1):
        leg = ((side * stride, 0.02), (side * stride + 0.13, 0.02), (0.13, hip), (-0.13, hip))
        brush.board(feet, leg, legs)
    brush.board(feet, ((-0.15, hip - 0.05), (0.15, hip - 0.05), (0.21, neck), (-0.21, neck)), coat)
    for side in (-1, 1):
        hand = side * (0.2 + stride)
        arm = ((side * 0.16, neck), (side * 0.23, neck - 0.03), (hand, hip), (hand - 0.07, hip))
        brush.board(feet, arm, (coat[0] * 0.85, coat[1] * 0.85, coat[2] * 0.85))
    brush.ball((0, 0, 0.92 * tall), 0.12, skin)
    brush.ball((0, 0, 0.95 * tall), 0.11, pick(rng, ((40, 30, 26), (120, 86, 50), (60, 60, 62))))


def lamp_post(rng: Generator, brush: Brush) -> None:
    """A street lamp, lit in the dark."""
    tall = between(rng, 5.5, 8.0)
    brush.board((0, 0, 0), ((-0.08, 0), (0.08, 0), (0.05, tall), (-0.05, tall)), (88, 92, 96))
    arm = pick(rng, (-1.2, 1.2))
    brush.board(
        (0, 0, 0), ((0, tall - 0.1), (arm, tall), (arm, tall + 0.1), (0, tall)), (88, 92, 96)
    )
    if brush.canvas.light.lamps_on:
        rx, ry, _ = brush.view.right
        head = (arm * rx, arm * ry, tall)
        brush.lamp(head, 0.2, (255, 236, 190))
        brush.glow(head, 1.2, (190, 160, 100))


def road_sign(rng: Generator, brush: Brush) -> None:
    """A post with a round, triangular or square sign."""
    brush.board((0, 0, 0), ((-0.04, 0), (0.04, 0), (0.04, 2.4), (-0.04, 2.4)), (120, 124, 128))
    rim: Colour = pick(rng, ((200, 26, 30), (22, 66, 196), (22, 66, 196), (240, 196, 40)))
    corners = pick(rng, (12, 3, 4))
    for radius, colour in ((0.38, rim), (0.28, (238, 238, 234))):
        shape = [
            (
                radius * math.sin(2 * math.pi * k / corners),
                2.5 + radius * math.cos(2 * math.pi * k / corners),
            )
            for k in range(corners)
        ]
        brush.board((0, 0, 0), shape, colour)


def fence(rng: Generator, brush: Brush, length: float) -> None:
    """Posts and rails along x, from the origin."""
    colour = pick(rng, ((120, 96, 70), (214, 212, 206), (70, 74, 78)))
    tall = between(rng, 0.8, 1.15)
    for rail in (0.45, 0.9):
        z = rail * tall
        brush.fill(((0, 0, z), (length, 0, z), (length, 0, z + 0.09), (0, 0, z + 0.09)), colour)
    for post in range(int(length / 1.6) + 1):
        x = 1.6 * post
        brush.fill(((x, 0, 0), (x + 0.1, 0, 0), (x + 0.1, 0, tall), (x, 0, tall)), colour)
