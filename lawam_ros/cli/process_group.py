"""The nodes of a task as a group of processes under supervisord, which starts, watches, restarts and stops them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from lawam_ros.bringup import NodeSpec
from lawam_ros.cli import dies_with_parent
from lawam_ros.contract.errors import EnvironmentLacks

_STOP_WAIT_S = 8
_START_WAIT_S = 10.0
_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class ProcessState:
    """running, its pid (0 when not) and the last exit code."""

    running: bool
    pid: int
    exit_code: int


class ProcessGroup:
    """Context manager: the processes run inside the ``with`` block and are stopped with SIGINT, in reverse order, when it ends.

    Enter it from the main thread: when that ends, by whatever signal, supervisord is told to stop its processes, and these end with it.
    """

    def __init__(self, nodes: Sequence[NodeSpec], namespace: str, environment: Mapping[str, str]) -> None:
        self._nodes = tuple(nodes)
        self._namespace = namespace
        self._environment = dict(environment)
        self._folder = tempfile.TemporaryDirectory(prefix="lawam_run_")
        self._path = Path(self._folder.name)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.exit_codes: dict[str, int] = {}

    def __enter__(self) -> "ProcessGroup":
        configuration = self._path / "supervisord.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        # supervisord gets the interrupt of a terminal too, unless it has a session of its own; the nodes must first brake, in order.
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
        with (self._path / "supervisord.err").open("wb") as errors:
            self._supervisor = subprocess.Popen(
                _bound(signal.SIGTERM, os.getpid(), command),
                env={**os.environ, **self._environment},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + _START_WAIT_S
        while not self._answers():
            if time.monotonic() > deadline or self._supervisor.poll() is not None:
                reason = (self._path / "supervisord.err").read_text().strip()
                self._kill()
                self._folder.cleanup()
                raise EnvironmentLacks(f"expected the process supervisor to start, it did not: {reason or 'it said nothing'}")
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for node in reversed(self._nodes):
                with suppress(xmlrpc.client.Fault):  # it ended by itself in the meantime
                    self._call().stopProcess(node.name)
                self.exit_codes[node.name] = self.state(node.name).exit_code
            self._call().shutdown()
            assert self._supervisor is not None
            self._supervisor.wait(timeout=2 * _STOP_WAIT_S)
        except (OSError, xmlrpc.client.Error, subprocess.TimeoutExpired):
            self._kill()
        finally:
            self._folder.cleanup()

    def state(self, name: str) -> ProcessState:
        info: Any = self._call().getProcessInfo(name)
        return ProcessState(info["statename"] in ("STARTING", "RUNNING"), int(info["pid"]), int(info["exitstatus"]))

    def respawns(self, name: str) -> bool:
        """Whether the node is started again after it crashed."""
        return next(node.respawn for node in self._nodes if node.name == name)

    def log_tail(self, name: str) -> str:
        """Last lines a node wrote."""
        path = self._path / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]) if path.is_file() else ""

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.state(name).pid, number)

    def _call(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._path / 'socket'}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor

    def _answers(self) -> bool:
        if not (self._path / "socket").exists():
            return False
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(str(self._path / "socket"))
        except OSError:
            return False
        finally:
            probe.close()
        return True

    def _kill(self) -> None:
        """End the supervisor and what is left of its nodes: each leads a process group of its own in the supervisor's session."""
        if self._supervisor is None:
            return
        if self._supervisor.poll() is None:
            self._supervisor.kill()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with suppress(OSError):  # gone, or somebody else's
                ours = os.getsid(int(entry.name)) == self._supervisor.pid and os.fsencode(self._path) in (entry / "cmdline").read_bytes()
                if ours:
                    os.kill(int(entry.name), signal.SIGKILL)
        self._supervisor.wait()

    def _configuration(self) -> str:
        head = f"""[unix_http_server]
file={self._path}/socket
[supervisord]
nodaemon=true
silent=true
logfile={self._path}/supervisord.log
pidfile={self._path}/pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
        return head + "".join(self._program(node) for node in self._nodes)

    def _program(self, node: NodeSpec) -> str:
        parameters = self._path / f"{node.name}.yaml"
        # JSON is YAML in which every text is quoted: a checkpoint called 1e3 or an instruction "yes" stays a text.
        content = {"/**": {"ros__parameters": dict(node.parameters)}}
        parameters.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        command = [sys.executable, "-u", "-m", f"lawam_ros.nodes.{node.executable}", "--ros-args", "-r", f"__node:={node.name}"]
        command += ["--params-file", str(parameters)]
        if self._namespace.strip("/"):
            command += ["-r", f"__ns:=/{self._namespace.strip('/')}"]
        return f"""[program:{node.name}]
command={shlex.join(_bound(signal.SIGINT, 0, command)).replace("%", "%%")}
autorestart={"unexpected" if node.respawn else "false"}
exitcodes=0,2,3
startsecs=0
startretries=20
stopsignal=INT
stopwaitsecs={_STOP_WAIT_S}
redirect_stderr=true
stdout_logfile={self._path}/{node.name}.log
stdout_logfile_maxbytes=0
"""


def _bound(number: signal.Signals, parent: int, command: list[str]) -> list[str]:
    """The command, to be signalled when its parent dies."""
    return [sys.executable, "-I", "-S", dies_with_parent.__file__, str(int(number)), str(parent), *command]
