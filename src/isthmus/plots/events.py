"""The figures of a folder for TensorBoard, which shows them as images."""

import io
from pathlib import Path

from PIL import Image

from isthmus import runs

FILE = "events.out.tfevents.0.figures"  # TensorBoard reads files that are named so


def write(folder: Path) -> Path | None:
    """Put all figures of a folder into an event file beside them, in place of an earlier one.

    Equal figures give equal bytes.

    Args:
        folder: with PNG files, each of which is an image under its name.

    Returns:
        The file; None where there is no figure.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    pictures = sorted(folder.glob("*.png"))
    if not pictures:
        return None
    content = io.BytesIO()
    records = RecordWriter(content)
    records.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())
    for picture in pictures:
        png = picture.read_bytes()
        with Image.open(io.BytesIO(png)) as opened:
            image = Summary.Image(
                width=opened.width,
                height=opened.height,
                colorspace=len(opened.getbands()),
                encoded_image_string=png,
            )
        summary = Summary(value=[Summary.Value(tag=picture.stem, image=image)])
        records.write(Event(wall_time=0, step=0, summary=summary).SerializeToString())
    runs.write_bytes(folder / FILE, content.getvalue())
    return folder / FILE
