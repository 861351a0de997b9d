"""Pictures added to the events of a finished run, without torch."""

import time
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from vehicle_lightning.runs.folder import RunFolder


def add_picture(run: RunFolder, name: str, path: Path, epoch: int) -> None:
    """Add a PNG file to the events of a finished run, in place of the one of the same name."""
    suffix = f".{name}"
    for earlier in run.path.glob(f"events.out.tfevents.*{suffix}"):
        earlier.unlink()
    with Image.open(path) as picture:
        width, height = picture.size
    image = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes()
    )
    summary = Summary(value=[Summary.Value(tag=name, image=image)])
    writer = EventFileWriter(str(run.path), filename_suffix=suffix)
    writer.add_event(Event(wall_time=time.time(), step=epoch, summary=summary))
    writer.close()
