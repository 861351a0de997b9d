"""One image file to pixels: upright RGB or grey, whatever the file holds.

Files of 8 bits a channel say themselves what is black and white. Grey files of more bits, or of
floating-point numbers, often do not: a camera of 12 bits writes 0 to 4095 into 16. For these, black
is 0 and white is decided once for a data set, by `white_values`, and kept with a network.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from vehicle_lightning.errors import ImageChangedError

# What is taken for an image in a folder. Phones write HEIC, which Pillow alone does not read: such
# a file is better reported than passed over.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".jp2", ".avif", ".heic", ".heif"),
)
ORIENTATIONS = range(1, 9)
RUN_BY_OTHERS = ("EPS",)  # Pillow hands it to Ghostscript: a data file must start no program
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners have
PHOTOMETRIC, SAMPLE_FORMAT = 262, 339  # tags of a TIFF
WHITE_IS_ZERO, SIGNED = 0, 2  # their values

Pixels = NDArray[np.uint8]
Kind = Literal["integer", "float"]
WhiteValues = Mapping[str, float]
"""For deep grey images, by `Kind`: the value that is white. Nothing of a kind that was not met."""


class UnknownRangeError(ValueError):
    """Nothing says which value of an image is white."""


def read_image(file: Path | BinaryIO, size: int, white: WhiteValues | None = None) -> Pixels:
    """Decode an image file to upright RGB of shape (size, size, 3), uint8 in [0, 255].

    EXIF rotation is applied, transparency is laid over white, palette, CMYK and LAB become RGB, of
    several frames the first is taken. A picture that is not square is scaled to cover the square
    and cropped at the centre, as torchvision's reference presets do.

    Args:
        file: the file.
        size: height and width, in pixels.
        white: of the data set.

    Raises:
        UnknownRangeError: it is deep grey, and `white` has no value for its kind.
        Exception: the file cannot be decoded; Pillow raises many kinds for a broken file.
    """
    if isinstance(file, Path):
        # By its path Pillow would map raw pixels, whose sides it takes for those of a turned image.
        with file.open("rb") as stream:
            return read_image(stream, size, white)
    with Image.open(file) as image:
        return to_rgb(image, size, white)


def to_rgb(image: Image.Image, size: int, white: WhiteValues | None = None) -> Pixels:
    """Decode an opened image as `read_image` does."""
    # A JPEG may decode at a power-of-two fraction of its size, never below what is needed.
    image.draft("RGB", (size, size))
    return np.asarray(_square(_as_rgb(_upright(image), white), size))


def to_thumbnail(image: Image.Image, size: int, white: WhiteValues | None = None) -> Pixels:
    """Decode an opened image to upright Y, Cb, Cr of shape (size, size, 3), uint8 in [0, 255].

    As `read_image` does, without the way over RGB for a JPEG.
    """
    image.draft("YCbCr", (size, size))
    upright = _upright(image)
    if upright.mode != "YCbCr":
        upright = _as_rgb(upright, white).convert("YCbCr")
    return np.asarray(_square(upright, size))


def read_or_fault(path: Path, size: int, white: WhiteValues | None = None) -> Pixels | str:
    """Decode an image file as `read_image` does, or say in a few words why not."""
    try:
        if path.exists() and not path.is_file():
            return "not a file"  # a pipe would be waited for
        return read_image(path, size, white)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        told = str(error).replace(f"<_io.BufferedReader name={str(path)!r}>", "'the file'")
        return " ".join(told.replace(str(path), "the file").split()) or type(error).__name__


def changed(path: Path, fault: str) -> ImageChangedError:
    """Say that an image file that could be read before cannot be read any more."""
    return ImageChangedError(
        f"{path} could be read when the command began and now cannot ({fault}); restore the file "
        f"and give the command again, for a training with --resume."
    )


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, from 1 to 8; 1 is upright."""
    stored = image.getexif().get(ExifTags.Base.Orientation, 1)
    return stored if stored in ORIENTATIONS else 1  # other programs, too, pass over nonsense


def deep_kind(image: Image.Image) -> Kind | None:
    """Return what numbers a grey image of more than 8 bits holds; None for all others."""
    if image.mode == "F":
        return "float"
    return "integer" if image.mode.startswith("I") else None


def extent(image: Image.Image) -> tuple[float, float]:
    """Return the lowest and the highest value of a deep grey image; NaN if one is none."""
    values = np.asarray(image)
    return float(values.min()), float(values.max())


def range_fault(kind: Kind, lowest: float, highest: float) -> str:
    """Say why nothing can tell which value of a deep grey image is white, or nothing."""
    what = "32-bit float" if kind == "float" else "deep integer"
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        return f"a {what} image with values that are not finite"
    if lowest < 0 or highest >= 1 << DEPTHS[-1]:
        return (
            f"a {what} image with values from {lowest:g} to {highest:g}, of which none is known to "
            f"be black or white; save it with 8 bits"
        )
    return ""


def white_values(highest: Mapping[Kind, float]) -> dict[str, float]:
    """Decide what is white in a data set: the largest value that its bits can hold.

    The bits are the fewest of 8, 10, 12, 14 and 16 that hold the highest value of all images; for
    floating-point numbers, white is 1 where none is larger.

    Args:
        highest: of all images of the data set, by kind.
    """
    return {
        kind: 1.0
        if kind == "float" and value <= 1
        else float(next((1 << bits) - 1 for bits in DEPTHS if value < 1 << bits))
        for kind, value in highest.items()
    }


def _upright(image: Image.Image) -> Image.Image:
    if image.format in RUN_BY_OTHERS:
        raise ValueError(f"{image.format}, which another program would have to draw")
    if image.format == "TIFF" and image.mode == "L":
        tags = getattr(image, "tag_v2", {})
        if SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)):
            raise ValueError("a TIFF of signed 8-bit numbers; save it unsigned")
    if orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _square(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _as_rgb(image: Image.Image, white: WhiteValues | None) -> Image.Image:
    if (kind := deep_kind(image)) is not None:
        return _to_8_bits(image, kind, white or {}).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        background = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(background, picture).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image, kind: Kind, white: WhiteValues) -> Image.Image:
    if kind not in white:
        raise UnknownRangeError(
            f"an image of mode {image.mode}, of which the network has seen none, so that it is not "
            f"known what is white in it; save it with 8 bits"
        )
    if fault := range_fault(kind, *extent(image)):
        raise UnknownRangeError(fault)
    shares = np.asarray(image).astype(np.float32) / np.float32(white[kind])
    # Of TIFFs of 8 bits Pillow itself turns those in which white is 0.
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        shares = 1 - shares
    return Image.fromarray((shares * 255).round().clip(0, 255).astype(np.uint8))
