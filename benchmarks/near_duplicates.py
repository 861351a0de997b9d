"""Which near duplicates are found, and what is taken for one that is none, by kind of picture.

    python benchmarks/near_duplicates.py [--images 10000] [--seed 1] [--still]

The set is made: synthetic vehicles, changed copies of some of them, and scenes, the images of one
camera, microscope, belt or form: a background that stays and a small object that moves or changes.
Copies of some images of scenes are in it too. Two images that show the same photograph are a pair;
recall is the share of pairs that are in one group, precision the share of what is in one group that
is a pair. The limits in `data/duplicates.py` were chosen with --seed 0, the figures in docs/data.md
are of --seed 1. With --still the set is 1,000 images of one camera, and `check` says what it finds.
"""

import argparse
import io
import itertools
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageEnhance

from vehicle_lightning.data.duplicates import group_images
from vehicle_lightning.data.facts import examine_all, file_states
from vehicle_lightning.parallel import in_processes
from vehicle_lightning.synthetic import make_vehicles

SIDE = 128  # pixels
FRAMES = 100  # images of a scene
COPIED = 10  # of these that a copy is made of
Rng = np.random.Generator
Frame = Callable[[Image.Image, Rng], None]  # puts the object of one image into a scene


def colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, ...]:
    """Return a random colour."""
    return tuple(rng.integers(low, high, 3).tolist())


def box(rng: Rng, smallest: int, largest: int) -> tuple[int, int, int, int]:
    """Return a random box inside the picture: left, top, right, bottom."""
    width, height = rng.integers(smallest, largest + 1, 2)
    left, top = rng.integers(2, SIDE - width - 2), rng.integers(2, SIDE - height - 2)
    return int(left), int(top), int(left + width), int(top + height)


def street(rng: Rng) -> tuple[Image.Image, Frame]:
    """Houses and a road from a fixed camera; a car drives by."""
    image = Image.new("RGB", (SIDE, SIDE), colour(rng, 120, 220))
    draw = ImageDraw.Draw(image)
    for left in range(0, SIDE, 18):
        top = int(rng.integers(15, 50))
        draw.rectangle((left, top, left + 16, 90), fill=colour(rng, 40, 200))
        for x, y in itertools.product(range(left + 2, left + 14, 6), range(top + 4, 84, 9)):
            draw.rectangle((x, y, x + 3, y + 4), fill=colour(rng))
    draw.rectangle((0, 90, SIDE, SIDE), fill=(90, 90, 95))

    def frame(image: Image.Image, rng: Rng) -> None:
        left, top = int(rng.integers(2, SIDE - 32)), int(rng.integers(84, 108))
        draw = ImageDraw.Draw(image)
        draw.rectangle((left, top + 5, left + 28, top + 14), fill=colour(rng))
        draw.rectangle((left + 6, top, left + 22, top + 6), fill=(30, 40, 50))

    return image, frame


def shelf(rng: Rng) -> tuple[Image.Image, Frame]:
    """Things on a shelf; one at a time is taken away or exchanged."""
    image = Image.new("RGB", (SIDE, SIDE), colour(rng, 150, 240))
    draw = ImageDraw.Draw(image)
    places = list(itertools.product(range(4, SIDE - 20, 20), range(4, SIDE - 20, 24)))
    for x, y in places:
        draw.rectangle((x, y, x + 15, y + int(rng.integers(8, 20))), fill=colour(rng))

    def frame(image: Image.Image, rng: Rng) -> None:
        x, y = places[rng.integers(len(places))]
        draw = ImageDraw.Draw(image)
        draw.rectangle((x, y, x + 15, y + 20), fill=image.getpixel((1, 1)))
        draw.ellipse((x, y + 4, x + 14, y + 18), fill=colour(rng))

    return image, frame


def slide(rng: Rng) -> tuple[Image.Image, Frame]:
    """A slide under a microscope, cells that stay and two that move."""
    image = Image.new("RGB", (SIDE, SIDE), (236, 228, 238))
    draw = ImageDraw.Draw(image)
    for _ in range(70):
        x, y, right, bottom = box(rng, 6, 12)
        draw.ellipse((x, y, right, bottom), fill=(190, int(rng.integers(110, 180)), 200))
        draw.ellipse((x + 2, y + 2, x + 5, y + 5), fill=(90, 50, 130))

    def frame(image: Image.Image, rng: Rng) -> None:
        for _ in range(2):
            draw, (x, y, right, bottom) = ImageDraw.Draw(image), box(rng, 12, 18)
            draw.ellipse((x, y, right, bottom), fill=(150, 70, 150))
            draw.ellipse((x + 4, y + 4, x + 9, y + 9), fill=(60, 20, 90))

    return image, frame


def belt(rng: Rng) -> tuple[Image.Image, Frame]:
    """A structured belt from above; each time another part lies on it."""
    image = Image.new("RGB", (SIDE, SIDE), (60, 62, 66))
    draw = ImageDraw.Draw(image)
    for _ in range(160):
        x, y, right, bottom = box(rng, 2, 12)
        draw.rectangle((x, y, right, bottom), fill=colour(rng, 40, 110))
    draw.rectangle((0, 0, 7, SIDE), fill=(170, 170, 60))

    def frame(image: Image.Image, rng: Rng) -> None:
        x, y, right, bottom = box(rng, 18, 30)
        corners = [(x, y), (right, y), (right, bottom), (x, bottom)][: int(rng.integers(3, 5))]
        ImageDraw.Draw(image).polygon(corners, fill=colour(rng, 120, 250))

    return image, frame


def form(rng: Rng) -> tuple[Image.Image, Frame]:
    """A printed form, filled in by hand each time in another way."""
    image = Image.new("RGB", (SIDE, SIDE), (246, 246, 242))
    draw = ImageDraw.Draw(image)
    lines = list(range(8, SIDE - 8, 12))
    for line in lines:
        draw.rectangle((6, line, 6 + int(rng.integers(15, 50)), line + 3), fill=(60, 60, 60))
        draw.line((62, line + 5, SIDE - 6, line + 5), fill=(120, 120, 120))

    def frame(image: Image.Image, rng: Rng) -> None:
        for line in rng.choice(lines, 4, replace=False).tolist():
            xs = np.arange(64, 64 + int(rng.integers(20, 56)), 3)
            heights = rng.integers(-4, 5, len(xs))
            points = [(int(x), line + int(y)) for x, y in zip(xs, heights, strict=True)]
            ImageDraw.Draw(image).line(points, fill=(20, 30, 120), width=2)

    return image, frame


def coloured(rng: Rng) -> tuple[Image.Image, Frame]:
    """A slide on which spots differ from the rest, and among themselves, in colour alone."""
    image, _ = slide(rng)

    def frame(image: Image.Image, rng: Rng) -> None:
        for _ in range(3):
            x, y, right, bottom = box(rng, 14, 20)
            middle = image.convert("L").crop((x, y, right, bottom))
            grey = round(float(np.asarray(middle).mean()))
            blue, red = rng.integers(-70, 70, 2)
            spot = Image.new("YCbCr", (1, 1), (grey, 128 + int(blue), 128 + int(red)))
            fill = spot.convert("RGB").getpixel((0, 0))
            ImageDraw.Draw(image).ellipse((x, y, right, bottom), fill=fill)

    return image, frame


SCENES = (street, shelf, slide, belt, form, coloured)


def compressed(
    image: Image.Image, rng: Rng, qualities: tuple[int, ...] = (15, 30, 60)
) -> Image.Image:
    """Compress by JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.choice(qualities)))
    return Image.open(stream).convert("RGB")


def resized(image: Image.Image, rng: Rng) -> Image.Image:
    """Resize to half to twice."""
    side = int(SIDE * rng.choice([0.5, 0.7, 1.5, 2.0]))
    return image.resize((side, side), Image.Resampling.BICUBIC)


def brightened(image: Image.Image, rng: Rng) -> Image.Image:
    """Change brightness, contrast and saturation."""
    for kind, low, high in (("Brightness", 0.7, 1.35), ("Contrast", 0.7, 1.3), ("Color", 0.5, 1.5)):
        image = getattr(ImageEnhance, kind)(image).enhance(rng.uniform(low, high))
    return image


def tinted(image: Image.Image, rng: Rng) -> Image.Image:
    """Change the balance of white."""
    pixels = np.asarray(image) * rng.uniform(0.8, 1.2, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def grey(image: Image.Image, _: Rng) -> Image.Image:
    """Take the colour away."""
    return image.convert("L").convert("RGB")


def cropped(image: Image.Image, rng: Rng) -> Image.Image:
    """Cut away up to a tenth of each side."""
    kept = image.width * rng.uniform(0.9, 0.99, 2)
    left, top = rng.uniform(0, image.width - kept)
    part = image.crop((round(left), round(top), round(left + kept[0]), round(top + kept[1])))
    return part.resize(image.size, Image.Resampling.BICUBIC)


def all_of_it(image: Image.Image, rng: Rng) -> Image.Image:
    """Crop, brighten, resize and compress."""
    return compressed(resized(brightened(cropped(image, rng), rng), rng), rng, (40, 70))


CHANGES = (compressed, resized, brightened, tinted, grey, cropped, all_of_it)


def draw_scene(task: tuple[int, int, int, int, Path]) -> list[tuple[str, str, str]]:
    """Write the images of a scene, and copies; return name, kind and photograph of each."""
    number, seed, frames, copied, folder = task
    rng = np.random.default_rng([seed, number])
    scene = SCENES[number % len(SCENES)]
    still, frame = scene(rng)
    rows = []
    for place in range(frames):
        image = still.copy()
        frame(image, rng)
        noise = rng.normal(rng.uniform(-3, 3), 2, (SIDE, SIDE, 3))
        pixels = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
        photograph = f"{scene.__name__}-{number}-{place}"
        rows.append((f"{photograph}.jpg", scene.__name__, photograph))
        Image.fromarray(pixels).save(folder / rows[-1][0], quality=90)
        if place < copied:
            rows.append((f"{photograph}-copy.jpg", f"copy in {scene.__name__}", photograph))
            copy = all_of_it(Image.fromarray(pixels), rng)
            copy.save(folder / rows[-1][0], quality=90)
    return rows


def draw_vehicles(count: int, seed: int, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Draw vehicles, and one changed copy of each kind of every seventh; yield the same."""
    drawn = make_vehicles(folder / "drawn", count=count, image_size=SIDE, seed=seed)
    rng = np.random.default_rng(seed)
    for number, path in enumerate(sorted((drawn / "images").iterdir())):
        shutil.copy(path, folder / (name := f"vehicle-{number}.jpg"))
        yield name, "vehicle", str(number)
        if number % len(CHANGES):
            continue
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        for change in CHANGES:
            copy = f"vehicle-{number}-{change.__name__}.jpg"
            change(image, rng).save(folder / copy, quality=90)
            yield copy, change.__name__, str(number)


def make_set(images: int, seed: int, folder: Path) -> pd.DataFrame:
    """Make a set of about so many images, half of them of scenes: file, kind, photograph."""
    scenes = max(len(SCENES), round(images / 2 / (FRAMES + COPIED)))
    rows = list(draw_vehicles(images // 4, seed, folder))
    for some in in_processes(
        draw_scene, [(n, seed, FRAMES, COPIED, folder) for n in range(scenes)]
    ):
        rows += some
    return pd.DataFrame(rows, columns=["file", "kind", "photograph"])


def find(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Group the images as training does; return the table with the group of each."""
    paths = [folder / name for name in table["file"]]
    facts, hashes, _ = examine_all(paths, file_states(paths, folder), folder)
    rows = np.arange(len(paths))
    found = group_images(facts["digest"], folder / "cache", lambda: (hashes, rows))
    return table.assign(group=found.of_image)


def report(table: pd.DataFrame) -> list[str]:
    """Return precision and recall, all in all and by kind, as a table of Markdown."""
    photograph_of = dict(zip(table["file"], table["photograph"], strict=True))
    original = table.drop_duplicates("photograph").set_index("photograph")["group"]
    copies = table[table.duplicated("photograph")]
    found = copies["group"].to_numpy() == original[copies["photograph"]].to_numpy()
    joined = right = 0
    wrong: Counter[str] = Counter()
    kind_of = dict(zip(table["file"], table["kind"], strict=True))
    for files in table.groupby("group")["file"].agg(list):
        shown = Counter(photograph_of[file] for file in files)
        joined += len(files) * (len(files) - 1) // 2
        right += sum(count * (count - 1) // 2 for count in shown.values())
        main = max(shown, key=lambda one: shown[one])
        wrong.update(kind_of[file] for file in files if photograph_of[file] != main)
    pairs = table.groupby("photograph").size()
    lines = [
        f"{len(table)} images, {int((pairs * (pairs - 1) // 2).sum())} pairs: precision "
        f"{right / max(joined, 1):.4f}, recall of copies {found.mean():.4f}.",
        "",
        "| kind | images | found | joined wrongly |",
        "| --- | --- | --- | --- |",
    ]
    recall = defaultdict(lambda: "", copies.assign(found=found).groupby("kind")["found"].mean())
    for kind, count in table["kind"].value_counts(sort=False).items():
        share = f"{100 * recall[kind]:.1f} %" if kind in recall else ""
        lines.append(f"| {kind.replace('_', ' ')} | {count} | {share} | {wrong[kind]} |")
    return lines


def main() -> None:
    """Make the set, group it, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--still", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, start = Path(place), time.monotonic()
        if options.still:
            check_still(folder, options.seed)
            return
        table = make_set(options.images, options.seed, folder)
        drawn = time.monotonic()
        print("\n".join(report(find(table, folder))))
        print(f"\ndrawn in {drawn - start:.0f} s, grouped in {time.monotonic() - drawn:.0f} s")


def check_still(folder: Path, seed: int) -> None:
    """Check 1,000 images of one street, labelled by what drives by."""
    from vehicle_lightning.check.__main__ import main as check

    (folder / "images").mkdir()
    rows = draw_scene((0, seed, 1000, 0, folder / "images"))
    labels = np.random.default_rng(seed).integers(0, 2, len(rows))
    lines = [f"{name},{label}" for (name, _, _), label in zip(rows, labels, strict=True)]
    (folder / "train.csv").write_text("\n".join(["image_names,emergency_or_not", *lines]))
    check(["--data-dir", str(folder), "--cache-dir", str(folder / "cache")])


if __name__ == "__main__":
    main()
