"""Figures and pictures that come after the training, as TensorBoard's events, without torch."""

import time
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write_events(folder: Path, name: str, records: Iterable[tuple[str, float | Path, int]]) -> None:
    """Write figures and PNG files into a folder, in place of those of the same name there.

    Args:
        folder: what TensorBoard takes for a run; made where there is none.
        name: what wrote them.
        records: tag, the figure or the file, and the step.
    """
    suffix = f".{name}"
    for earlier in folder.glob(f"events.out.tfevents.*{suffix}"):
        earlier.unlink()
    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for tag, content, step in records:
        if isinstance(content, Path):
            summary = picture_record(tag, content)
        else:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=content)])
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.close()


def picture_record(tag: str, file: Path) -> Summary:
    """Return a PNG file as TensorBoard records it."""
    with Image.open(file) as picture:
        width, height = picture.size
    image = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=file.read_bytes()
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])
