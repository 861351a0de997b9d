"""What `check` costs against decoding the images alone, and how its memory grows.

    python benchmarks/checking_speed.py [--images 20000] [--side 96]

Makes two data sets of small random pictures, the second four times as large, and checks each in a
process of its own. Printed are images a second for decoding with Pillow in as many threads, for the
check, their ratio, and the largest memory of the check.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CHECK = """
import contextlib, io, json, resource, sys, time
from vehicle_lightning.check import main
started = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])
seconds = time.perf_counter() - started
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def main() -> None:
    """Make the data sets, check them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000, help="of the larger data set")
    parser.add_argument("--side", type=int, default=96, help="pixels")
    options = parser.parse_args()
    print("  images  decode/s  check/s  check/decode  memory MB")
    for count in (options.images // 4, options.images):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder)
            make(data, count, options.side)
            decode = count / timed_decoding(data)
            command = [sys.executable, "-c", CHECK, "--data-dir", folder]
            done = subprocess.run(
                [*command, "--cache-dir", f"{folder}/cache"],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
        rate = count / seconds
        print(
            f"{count:8}{decode:10.0f}{rate:9.0f}{rate / decode:14.2f}{megabytes:11.0f}", flush=True
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
    """Write one picture of random shapes on a random ground."""
    rng = np.random.default_rng(number)
    ground = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((side, side), Image.Resampling.BICUBIC)
    brush = ImageDraw.Draw(picture)
    for _ in range(12):
        (x0, x1), (y0, y1) = np.sort(rng.integers(0, side, (2, 2)), axis=1).tolist()
        shape = brush.rectangle if rng.random() < 0.5 else brush.ellipse
        shape((x0, y0, x1, y1), fill=tuple(rng.integers(0, 256, 3).tolist()))
    picture.save(data / "images" / f"{number}.jpg", quality=85)


def timed_decoding(data: Path) -> float:
    """Return the seconds of decoding every image once."""

    def decode(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    paths = list((data / "images").iterdir())
    started = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, paths, chunksize=64))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
