"""A run as a Rerun page. The server is Rerun's own program, because the one inside its library listens to the whole network."""

import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Robot
from lawam_ros.contract.view_topics import MARKER_NAMESPACES, SUBGOAL_PICTURES, overlay_topic
from lawam_ros.contract.viewers import rerun_data_address, viewer_address
from lawam_ros.control.link_frames import LinkFrames
from lawam_ros.nodes import messages, qos
from lawam_ros.nodes.status import status_from_message
from lawam_ros.observe.image import BadImage, rgb_from_bytes

Array = NDArray[np.float64]

_START_S = 15.0
_STOP_S = 3.0
_MEMORY = "512MiB"
"""Of the server, for pages that are opened late; the oldest goes first."""
_JPEG_QUALITY = 85
_TIMELINE = "stamp"


class RerunViewer:
    """Everything the view shows is logged, whether a page is open or not: Rerun does not tell."""

    def __init__(self, node: Node, robot: Robot, links: LinkFrames, host: str, port: int) -> None:
        """Page at ``port``, data at the next one. Raises EnvironmentLacks without the library, or where its server does not come up."""
        binary = rerun_program()
        import rerun

        self._rerun, self._logged, self._said = rerun, 0, ""
        self._parents = {joint.child: joint.parent for joint in links.joints}
        self._data_port = port + 1
        check_free(host, port, self._data_port)
        # setpriv: the server ends with this process, however that ends.
        command = ["setpriv", "--pdeathsig", "TERM", str(binary), "--serve-web", "--bind", host, "--hide-welcome-screen", "--newest-first"]
        ports = ["--port", str(self._data_port), "--web-viewer-port", str(port), "--server-memory-limit", _MEMORY]
        self._server = subprocess.Popen([*command, *ports], stdout=subprocess.DEVNULL)
        here = "127.0.0.1" if host == "0.0.0.0" else host
        self.address = viewer_address("rerun", host, port)
        self._recording = rerun.RecordingStream("lawam_ros")
        try:
            self._wait_until_up(here)
            self._recording.connect_grpc(rerun_data_address(here, port), default_blueprint=layout(robot))
            rerun.urdf.UrdfTree.from_file_path(urdf_dir() / robot.urdf, "world").log_urdf_to_recording(self._recording)
        except Exception:
            self.close()
            raise
        self._subscribe(node, robot)

    def links(self, relative: Mapping[str, Array], stamp_ns: int) -> None:
        for link, pose in relative.items():
            moved = self._rerun.Transform3D(
                translation=pose[:3, 3], mat3x3=pose[:3, :3], parent_frame=self._parents[link], child_frame=link
            )
            self._log(f"links/{link}", moved, stamp_ns)

    def report(self) -> dict[str, object]:
        return {"logged": self._logged, "server": "running" if self._server.poll() is None else f"ended with {self._server.returncode}"}

    def close(self) -> None:
        self._recording.disconnect()
        self._server.terminate()
        try:
            self._server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._server.kill()

    def _subscribe(self, node: Node, robot: Robot) -> None:
        pictures = [f"lawam/subgoal/{name}" for name in SUBGOAL_PICTURES] + [overlay_topic(camera.name) for camera in robot.cameras]
        for topic in pictures:
            node.create_subscription(Image, topic, partial(self._on_picture, topic), qos.IMAGE_IN)
        node.create_subscription(MarkerArray, "lawam/markers", self._on_markers, qos.LATCHED)
        node.create_subscription(JointState, "lawam/subgoal/distance", self._on_distance, qos.REFERENCE)
        node.create_subscription(JointTrajectory, "lawam/reference", self._on_reference, qos.REFERENCE)
        node.create_subscription(DiagnosticArray, "lawam/status", self._on_status, qos.LATCHED)

    def _on_picture(self, topic: str, message: Image) -> None:
        try:
            rgb = rgb_from_bytes(memoryview(message.data).cast("B"), message.height, message.width, message.step, message.encoding)
        except BadImage:  # pictures are our own; another publisher's are not shown
            return
        picture = self._rerun.Image(rgb).compress(jpeg_quality=_JPEG_QUALITY)
        self._log(topic, picture, messages.nanoseconds(message.header.stamp))

    def _on_markers(self, message: MarkerArray) -> None:
        for marker in message.markers:
            entity = f"markers/{marker.ns}/{marker.id}"
            self._recording.log(entity, self._rerun.CoordinateFrame(marker.header.frame_id), static=True)
            self._log(entity, self._drawn(marker), None)

    def _drawn(self, marker: Marker) -> Any:
        points = np.array([[point.x, point.y, point.z] for point in marker.points])
        colours = [[round(255 * part) for part in (colour.r, colour.g, colour.b)] for colour in marker.colors]
        if marker.action != Marker.ADD:
            return self._rerun.Clear(recursive=False)
        if marker.type == Marker.SPHERE_LIST:
            return self._rerun.Points3D(points, colors=colours, radii=0.5 * marker.scale.x)
        ends = points.reshape(-1, 2, 3) if marker.type == Marker.LINE_LIST else np.stack([points[:-1], points[1:]], axis=1)
        of_line = colours[::2] if marker.type == Marker.LINE_LIST else colours[1:]
        return self._rerun.LineStrips3D(ends, colors=of_line, radii=0.5 * marker.scale.x)

    def _on_distance(self, message: JointState) -> None:
        self._log("subgoal_distance", self._rerun.Scalars(message.position[0]), messages.nanoseconds(message.header.stamp))

    def _on_reference(self, message: JointTrajectory) -> None:
        stamp_ns = messages.nanoseconds(message.header.stamp)
        for point in message.points:
            for name, position in zip(message.joint_names, point.positions, strict=False):
                self._log(f"reference/{name}", self._rerun.Scalars(position), stamp_ns)

    def _on_status(self, message: DiagnosticArray) -> None:
        try:
            status = status_from_message(message)
        except messages.BadMessage:
            return
        line = f"{status.state} {status.reason}".strip()
        if line != self._said:
            self._said = line
            self._log("status", self._rerun.TextLog(line), status.stamp_ns)

    def _log(self, entity: str, value: Any, stamp_ns: int | None) -> None:
        """Without a stamp: at the time of what was logged last."""
        if stamp_ns is not None:
            self._recording.set_time(_TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
        self._recording.log(entity, value)
        self._logged += 1

    def _wait_until_up(self, host: str) -> None:
        end_s = time.monotonic() + _START_S
        while self._server.poll() is None and time.monotonic() < end_s:
            with suppress(OSError), socket.create_connection((host, self._data_port), timeout=0.2):
                return
            time.sleep(0.05)
        raise EnvironmentLacks(
            f"expected Rerun's server at {host}:{self._data_port} within {_START_S:g} s, it did not come up; see its lines above"
        )


def check_free(host: str, *ports: int) -> None:
    """Raises EnvironmentLacks for a port that somebody else listens at, whom the data would go to."""
    for port in ports:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
            except OSError as error:
                raise EnvironmentLacks(f"expected to serve Rerun at {host}:{port}, got: {error.strerror}; choose another port") from error


def rerun_program() -> Path:
    """The program that comes with the library. Raises EnvironmentLacks where it is not installed."""
    found = find_spec("rerun_cli")
    program = Path(found.origin).with_name("rerun") if found is not None and found.origin is not None else None
    if program is None or not program.is_file():
        raise EnvironmentLacks("viewer:=rerun needs the package rerun-sdk, which is not installed; pip install 'lawam_ros[viewers]'")
    return program


def layout(robot: Robot) -> Any:
    """Blueprint: the scene beside the pictures, plots below. In code, because Rerun's files of it fit one version of Rerun only."""
    from rerun import blueprint as rrb

    pictures = [rrb.Spatial2DView(origin=overlay_topic(camera.name), name=f"chunk, {camera.name}") for camera in robot.cameras]
    pictures += [rrb.Spatial2DView(origin=f"lawam/subgoal/{name}", name=name) for name in SUBGOAL_PICTURES]
    markers = [f"+ markers/{namespace}/**" for namespace in MARKER_NAMESPACES]
    scene = rrb.Spatial3DView(origin="/", contents=["+ world/**", "+ links/**", *markers], name="robot and chunk")
    plots = [
        rrb.TimeSeriesView(origin="subgoal_distance", name="distance to the subgoal"),
        rrb.TimeSeriesView(origin="reference", name="commanded joints"),
        rrb.TextLogView(origin="status", name="status"),
    ]
    above = rrb.Horizontal(scene, rrb.Grid(*pictures))
    return rrb.Blueprint(rrb.Vertical(above, rrb.Horizontal(*plots), row_shares=[3, 1]), collapse_panels=True)
