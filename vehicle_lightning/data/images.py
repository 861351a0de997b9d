"""One image file to pixels: upright RGB or grey, whatever the file holds."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from vehicle_lightning.errors import ImageChangedError

ORIENTATIONS = range(1, 9)
RUN_BY_OTHERS = ("EPS",)  # Pillow hands it to Ghostscript: a data file must start no program


def read_image(file: Path | BinaryIO, size: int) -> NDArray[np.uint8]:
    """Decode an image file to upright RGB of shape (size, size, 3), uint8 in [0, 255].

    EXIF rotation is applied, transparency is laid over white, 16-bit grey is brought to 8 bits,
    palette and CMYK become RGB. A picture that is not square is scaled to cover the square and
    cropped at the centre, as torchvision's reference presets do.

    Raises:
        Exception: the file cannot be decoded; Pillow raises many kinds for a broken file.
    """
    with Image.open(file) as image:
        # A JPEG may decode at a power-of-two fraction of its size, never below what is needed.
        image.draft("RGB", (size, size))
        return np.asarray(_square(_as_rgb(_upright(image)), size))


def read_or_fault(path: Path, size: int, *, grey: bool = False) -> NDArray[np.uint8] | str:
    """Decode an image file as `read_image` or `read_grey` does, or say in a few words why not."""
    try:
        if path.exists() and not path.is_file():
            return "not a file"  # a pipe would be waited for
        if not grey:
            return read_image(path, size)
        with Image.open(path) as image:
            return read_grey(image, size)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        return " ".join(str(error).replace(str(path), "the file").split()) or type(error).__name__


def read_again(path: Path, size: int, *, grey: bool = False) -> NDArray[np.uint8]:
    """Decode an image file that could be read before.

    Raises:
        ImageChangedError: it cannot be read any more.
    """
    pixels = read_or_fault(path, size, grey=grey)
    if isinstance(pixels, str):
        raise ImageChangedError(
            f"{path} could be read when the command began and now cannot ({pixels}); mend the file "
            f"and give the command again, for a training with --resume."
        )
    return pixels


def read_grey(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Decode an opened image to upright grey of shape (size, size), uint8 in [0, 255].

    As `read_image` does; of a JPEG only the brightness is decoded.

    Raises:
        Exception: the file cannot be decoded; Pillow raises many kinds for a broken file.
    """
    image.draft("L", (size, size))
    upright = _upright(image)
    grey = upright if upright.mode == "L" else _as_rgb(upright).convert("L")
    square = _square(grey, size)
    # NumPy's own way takes half as long again, which tells where thousands are examined a second.
    return np.frombuffer(square.tobytes(), dtype=np.uint8).reshape(size, size)


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, from 1 to 8; 1 is upright."""
    stored = image.getexif().get(ExifTags.Base.Orientation, 1)
    return stored if stored in ORIENTATIONS else 1  # other programs, too, pass over nonsense


def _upright(image: Image.Image) -> Image.Image:
    if image.format in RUN_BY_OTHERS:
        raise ValueError(f"{image.format}, which another program would have to draw")
    if orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _square(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")
