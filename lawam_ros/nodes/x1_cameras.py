"""Cameras of a Quanta X1 through its vendor's SDK: a thread per stream, which tries again when it ends."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Camera
from lawam_ros.observe.image import BadImage
from lawam_ros.observe.vendor_picture import is_video, rgb_of_packet, shrunk

_RETRY_S = 0.5
_SPARE_S = 0.02
Publish = Callable[[Camera, NDArray[np.uint8]], None]


class X1Cameras:
    """streams: camera -> ``group.method`` of the vendor's client. publish gets RGB pictures of the contract's size, when they come."""

    def __init__(
        self, client: Any, decoder: Callable[[], Any], cameras: tuple[Camera, ...], streams: Mapping[str, str], publish: Publish
    ) -> None:
        self._client = client
        self._decoder = decoder
        self._publish = publish
        self._closed = threading.Event()
        self.pictures = 0
        self.problems: dict[str, str] = {}
        for camera in cameras:
            if camera.name in streams:
                threading.Thread(target=self._read, args=(camera, streams[camera.name]), name=camera.name, daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _read(self, camera: Camera, stream: str) -> None:
        group, _, method = stream.partition(".")
        while not self._closed.is_set():
            try:
                self._follow(camera, getattr(getattr(self._client, group), method)())
            except Exception as error:  # whatever the vendor's library raises; the policy notices a camera that is silent
                self.problems[camera.name] = f"{stream} ended: {type(error).__name__}: {error}"
            self._closed.wait(_RETRY_S)

    def _follow(self, camera: Camera, messages: Any) -> None:
        decoder, due_s = self._decoder(), 0.0
        for message in messages:
            if self._closed.is_set():
                return
            # Decoding costs the time of the cycle beside it. Packets of a video all have to be decoded, pictures only as often as wanted.
            now_s = time.monotonic()
            if now_s < due_s and not is_video(str(message.format)):
                continue
            due_s = max(due_s, now_s - _SPARE_S) + 1.0 / camera.rate_hz
            try:
                rgb = rgb_of_packet(bytes(message.data), str(message.format), lambda data, form: decoder.feed(data, codec_hint=form))
                if rgb is not None:
                    self._publish(camera, shrunk(rgb, *camera.mounted_hw))
                    self.pictures += 1
                    self.problems.pop(camera.name, None)
            except BadImage as error:
                self.problems[camera.name] = str(error)
