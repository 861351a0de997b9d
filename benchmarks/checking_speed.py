"""What `check` costs against decoding the images alone, and how its memory grows.

    python benchmarks/checking_speed.py [--images 100000] [--side 224]

Makes two data sets of drawn shapes, the second four times as large, and checks each. Printed are
images a second for decoding with Pillow on all cores, in processes that run already (mean of once
before and once after the check), for the check from its first import to its last line, their ratio,
and the largest memory of the check and of all its processes together.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

GRAIN = 4.0  # grey levels of standard deviation
CHECK = """
import resource, sys
from vehicle_lightning.check.__main__ import main
main(sys.argv[1:])
print(*(resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


def main() -> None:
    """Make the data sets, check them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, help="of the larger data set")
    parser.add_argument("--side", type=int, default=224, help="pixels")
    options = parser.parse_args()
    print("  images  decode/s  check/s  check/decode  memory MB  of all")
    for count in (options.images // 4, options.images):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder)
            make(data, count, options.side)
            decoding = timed_decoding(data)
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", CHECK, "--data-dir", folder, "--cache-dir", f"{folder}/c"],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            checking = time.perf_counter() - started
            decoding = (decoding + timed_decoding(data)) / 2
        own, child = map(float, done.stdout.splitlines()[-1].split())
        memory = own + child * len(os.sched_getaffinity(0))
        print(
            f"{count:8}{count / decoding:10.0f}{count / checking:9.0f}{decoding / checking:14.2f}"
            f"{own:11.0f}{memory:8.0f}",
            flush=True,
        )


def make(data: Path, count: int, side: int) -> None:
    """Write random pictures in as many processes as there are cores."""
    (data / "images").mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, range(count), [data] * count, [side] * count, chunksize=250))
    labels = np.random.default_rng(0).integers(0, 2, count)
    rows = "".join(f"{number}.jpg,{label}\n" for number, label in enumerate(labels))
    (data / "train.csv").write_text("image_names,emergency_or_not\n" + rows)


def draw(number: int, data: Path, side: int) -> None:
    """Write one picture of random shapes, with grain.

    The grain makes a file as large as that of a photograph: 11 kB at 224 pixels.
    """
    rng = np.random.default_rng(number)
    picture = picture_of_shapes(rng, side)
    grain = rng.normal(0, GRAIN, (side, side, 1))
    grainy = (np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(grainy).save(data / "images" / f"{number}.jpg", quality=85)


def picture_of_shapes(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw random shapes on a random ground."""
    ground = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((side, side), Image.Resampling.BICUBIC)
    brush = ImageDraw.Draw(picture)
    for _ in range(12):
        (x0, x1), (y0, y1) = np.sort(rng.integers(0, side, (2, 2)), axis=1).tolist()
        shape = brush.rectangle if rng.random() < 0.5 else brush.ellipse
        shape((x0, y0, x1, y1), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return picture


def timed_decoding(data: Path) -> float:
    """Return the seconds of decoding every image once."""
    paths = list((data / "images").iterdir())
    with ProcessPoolExecutor() as pool:
        list(pool.map(decode, paths[:1000], chunksize=64))  # starts the processes
        started = time.perf_counter()
        list(pool.map(decode, paths, chunksize=64))
        return time.perf_counter() - started


def decode(path: Path) -> None:
    """Decode one image."""
    with Image.open(path) as image:
        image.load()


if __name__ == "__main__":
    main()
