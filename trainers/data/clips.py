"""Frames of short clips: videos by PyAV, moving pictures by Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageSequence

from trainers.data.colours import to_rgb
from trainers.data.decode import CLIP_ENDINGS, HEAD_BYTES, open_image
from trainers.data.kinds import INSTALL, UnreadableError
from trainers.errors import MissingPackageError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# browsers show a frame of a moving picture that says 0 or 10 ms for 100
SHORTEST_MS, STANDARD_MS = 20, 100
LATE = Fraction(1, 1000)  # WebM and Matroska round their times to a millisecond
UPRIGHT = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """width, height: upright, in pixels; frames: as the file says, else its length times its speed.

    fps: frames a second, the mean.
    """

    width: int
    height: int
    frames: int
    fps: float


@dataclass(frozen=True, slots=True)
class Frame:
    """start, end: when it is shown, in seconds."""

    start: Fraction
    end: Fraction
    picture: Callable[[], Image.Image]


def is_clip(path: Path, frames: int = 1) -> bool:
    """Whether the file moves: a video by its name, or a picture whose header counts more than one frame."""
    return frames > 1 or path.suffix.lower() in CLIP_ENDINGS


def clip_info(path: Path) -> ClipInfo:
    """Size, length and speed. A moving picture is decoded for them, a video is not. Raises one of DECODE_ERRORS."""
    return _video_info(path) if is_clip(path) else _moving_info(path)


def read_frames(path: Path, count: int, *, start: int = 0, fps: float | None = None) -> list[Image.Image]:
    """Up to `count` frames from frame `start` on, upright RGB of 8 bits; fewer when the clip ends before.

    fps: of the frames that are wanted, and that `start` counts; each is what is shown at that moment. None: every
    frame of the file. Transparent parts become white. Raises one of DECODE_ERRORS.
    """
    frames = _video_frames(path) if is_clip(path) else _moving_frames(path)
    if fps is not None:
        frames = _sampled(frames, Fraction(fps).limit_denominator(100_000))
    return [frame.picture() for frame in islice(frames, start, start + count)]


def _sampled(frames: Iterator[Frame], fps: Fraction) -> Iterator[Frame]:
    """The frame that is shown at 0, 1/fps, 2/fps, ... seconds after the first one began."""
    begin: Fraction | None = None
    taken = 0
    for frame, following in pairwise(chain(frames, [None])):
        if frame is None:
            return
        begin = frame.start if begin is None else begin
        end = following.start if following else frame.end
        while begin + taken / fps + LATE < end:
            yield frame
            taken += 1


def _moving_frames(path: Path) -> Iterator[Frame]:
    """Frames of a GIF, WebP, APNG or AVIF."""
    with open(path, "rb") as file:
        picture = open_image(file, file.read(HEAD_BYTES))
        start = Fraction(0)
        for shown in ImageSequence.Iterator(picture):
            still = to_rgb(shown.copy(), "white")
            shown_ms = shown.info.get("duration") or 0
            end = start + Fraction(shown_ms if shown_ms >= SHORTEST_MS else STANDARD_MS) / 1000
            yield Frame(start, end, still.copy)
            start = end


def _moving_info(path: Path) -> ClipInfo:
    width, height, frames, end = 0, 0, 0, Fraction(1)
    for frame in _moving_frames(path):
        (width, height), end = frame.picture().size, frame.end
        frames += 1
    return ClipInfo(width, height, frames, float(frames / end))


def _video_frames(path: Path) -> Iterator[Frame]:
    with _video(path) as (container, stream):
        step = 1 / (stream.average_rate or Fraction(25))
        for number, frame in enumerate(container.decode(stream)):
            start = number * step
            if frame.pts is not None and frame.time_base is not None:
                start = frame.pts * frame.time_base
            yield Frame(start, start + step, partial(_upright, frame))


def _video_info(path: Path) -> ClipInfo:
    with _video(path) as (container, stream):
        rate = stream.average_rate or Fraction(25)
        frames = stream.frames or round(Fraction(container.duration or 0, 1_000_000) * rate)
        # the turn of a phone's video is known from its first frame
        first = next(container.decode(stream), None)
        if first is None:
            raise UnreadableError("it holds no frame")
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
        return ClipInfo(width, height, frames, float(rate))


def _upright(frame: VideoFrame) -> Image.Image:
    picture: Image.Image = frame.to_image()
    turn = UPRIGHT.get(frame.rotation % 360)
    return picture if turn is None else picture.transpose(turn)


@contextmanager
def _video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened video and its first stream of pictures."""
    try:
        import av
    except ImportError as error:
        raise MissingPackageError("Videos need av:", INSTALL) from error
    if not path.stat().st_size:
        raise UnreadableError("the file is empty")
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise UnreadableError("it holds no pictures")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise UnreadableError(f"the video is damaged or of an unknown kind ({error.strerror})") from error
