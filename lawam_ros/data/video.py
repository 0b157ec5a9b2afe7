"""Video files of cameras: written once, read frame by frame."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake

Frame = NDArray[np.uint8]

KEYFRAME_INTERVAL = 10
_ENCODERS = (("libx264", "h264", {"crf": "18", "preset": "veryfast", "tune": "fastdecode"}), ("mpeg4", "mpeg4", {"qscale": "2"}))


def available_encoder() -> tuple[str, str, dict[str, str]]:
    """Encoder name, codec name for ``info.json`` and options: H.264 where PyAV was built with it, else MPEG-4."""
    for encoder, codec, options in _ENCODERS:
        try:
            Codec(encoder, "w")
        except UnknownCodecError:
            continue
        return encoder, codec, dict(options)
    raise RuntimeError(f"PyAV has none of the encoders {', '.join(name for name, _, _ in _ENCODERS)}")


def _lossless_encoder() -> tuple[str, dict[str, str]]:
    try:
        Codec("libx264rgb", "w")
    except UnknownCodecError as error:
        raise EnvironmentLacks("--lossless needs PyAV with libx264rgb, this one has none; install the wheel of av from PyPI") from error
    return "libx264rgb", {"qp": "0", "preset": "veryfast"}


class VideoWriter:
    """Encodes uint8 RGB frames (height, width, 3) at a constant rate. Use as a context manager; the file is complete after it."""

    def __init__(self, path: Path, fps: int, height: int, width: int, lossless: bool = False) -> None:
        """lossless: every pixel comes back, at several times the size. Raises EnvironmentLacks where PyAV has no encoder for it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder, options = _lossless_encoder() if lossless else available_encoder()[::2]
        self._container = av.open(str(path), "w")
        stream = self._container.add_stream(encoder, rate=fps, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24" if lossless else "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_INTERVAL
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, fps)
        self._stream = stream
        self._shape = (height, width, 3)
        self._count = 0

    def write(self, frame: Frame) -> None:
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"expected a uint8 frame of shape {self._shape}, got {frame.dtype} {frame.shape}")
        picture = VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = self._count
        self._count += 1
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_frames(path: Path, from_s: float, count: int, fps: float) -> Iterator[Frame]:
    """``count`` consecutive RGB frames from the one nearest to ``from_s`` on (ties to the earlier), decoded in one pass.

    Raises UserMistake where the file is missing, is not a video, or ends early.
    """
    half = 0.5 / fps
    given = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            if from_s > 0.0 and stream.time_base is not None:
                container.seek(int(from_s / stream.time_base), stream=stream, backward=True)
            for picture in container.decode(stream):
                # A frame is the wanted one or later from half a period before the wanted time on.
                if picture.time is None or picture.time < from_s - half + 1e-6:
                    continue
                yield np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
                given += 1
                if given == count:
                    return
    except (FileNotFoundError, av.error.InvalidDataError, IndexError) as error:
        raise UserMistake(f"expected a video in {path}, got {error}; the dataset is incomplete") from error
    raise UserMistake(f"{path}: expected {count} frames from {from_s:.3f} s on, got {given}; the dataset is incomplete")


def read_frames_at(path: Path, times_s: Iterable[float], fps: float) -> list[Frame]:
    """RGB frames nearest to each time, in the order asked for."""
    frames: dict[float, Frame] = {}
    wanted = list(times_s)
    for time in sorted(set(wanted)):
        frames[time] = next(read_frames(path, time, 1, fps))
    return [frames[time] for time in wanted]
