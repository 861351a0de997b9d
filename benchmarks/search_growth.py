"""How the search for near copies grows with the number of pictures.

    python benchmarks/search_growth.py [--most 200000]

Times the look-up of candidate pairs among random hashes and among those of drawn shapes, for
numbers that double. The exponent is that of a power of the number of pictures, from one row to the
next: 1 grows as they do, 2 with their square.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from math import log2

import numpy as np
from checking_speed import picture_of_shapes

from vehicle_lightning.data.duplicates import candidate_pairs
from vehicle_lightning.data.hashes import HASHES, THUMBNAIL, Hashes, hash_pictures

AT_ONCE = 500  # pictures drawn by one process


def main() -> None:
    """Make the hashes, search among more and more of them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=200_000, help="pictures of the last row")
    most = parser.parse_args().most
    rng = np.random.default_rng(0)
    made = {
        "random": rng.integers(0, 2**64, (most, HASHES), dtype=np.uint64),
        "drawn": words_of_drawn_shapes(most),
    }
    print("hashes  pictures  candidates  seconds  exponent")
    for name, words in made.items():
        before = None
        for count in (most // 8, most // 4, most // 2, most):
            started = time.perf_counter()
            pairs = candidate_pairs(words[:count, 0], words[:count])
            seconds = time.perf_counter() - started
            exponent = "" if before is None else f"{log2(seconds / before):.2f}"
            print(f"{name:6}{count:10}{len(pairs):12}{seconds:9.2f}{exponent:>10}", flush=True)
            before = seconds


def words_of_drawn_shapes(count: int) -> Hashes:
    """Return the first words of the hashes of drawn pictures: uint64 of shape (N, 14)."""
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(hash_some, range(0, count, AT_ONCE)))
    return np.concatenate(parts)[:count]


def hash_some(first: int) -> Hashes:
    """Draw some pictures and hash them."""
    drawn = [
        np.asarray(picture_of_shapes(np.random.default_rng(number), THUMBNAIL).convert("YCbCr"))
        for number in range(first, first + AT_ONCE)
    ]
    return np.ascontiguousarray(hash_pictures(np.stack(drawn))["hashes"][..., 0])


if __name__ == "__main__":
    main()
