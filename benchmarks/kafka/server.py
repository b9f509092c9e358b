"""Run Apache Kafka as a child process: one KRaft node on loopback, for development and for tests with real Kafka."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.kafka.jars import LOG_CONFIGURATION, java_command, prepare_jars
from benchmarks.kafka.properties import Ports, Security, server_properties
from stream.errors import KafkaServerError

START_DEADLINE_S = 90.0  # it takes two seconds on an idle machine, and many more during a training run
STOP_DEADLINE_S = 30.0
FORMAT_DEADLINE_S = 60.0
START_ATTEMPTS = 3  # a port that was free may be taken before the broker binds it
CLUSTER_ID = "RmF1bHRsaW5lLUthZmthLTE"  # any 16 bytes in base64

log = structlog.get_logger(__name__)


class KafkaServer:
    """A single Apache Kafka node (broker and controller in one) that keeps its data and port across restarts.

    Example:
        >>> with KafkaServer(Path("/tmp/kafka")) as kafka:  # doctest: +SKIP
        ...     kafka.bootstrap
        '127.0.0.1:40513'
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        security: Security | None = None,
        heap_mb: int = 512,
    ) -> None:
        """Create the server without starting it.

        Args:
            data_dir: folder for log segments, ``server.properties`` and ``kafka.log``; created if absent.
            port: port of the plain listener; if None, a free one that is kept across restarts of this object.
            properties: server properties that override ours.
            security: further listeners, users and access rights.
            heap_mb: Java heap in MB; 512 MB are enough for the load of a laptop.
        """
        self.data_dir = data_dir
        self._given_port = port
        self._ports = Ports(plain=port or 0, controller=0)
        self._properties = dict(properties or {})
        self._security = security or Security()
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return f"127.0.0.1:{self._ports.plain}"

    @property
    def sasl_bootstrap(self) -> str:
        """``host:port`` of the SASL_PLAINTEXT listener (needs ``Security.users``)."""
        return f"127.0.0.1:{self._ports.sasl}"

    @property
    def tls_bootstrap(self) -> str:
        """``host:port`` of the SSL listener (needs ``Security.tls_keystore``), under the name localhost."""
        return f"localhost:{self._ports.tls}"

    @property
    def log_file(self) -> Path:
        """Kafka's log, to which restarts append."""
        return self.data_dir / "kafka.log"

    @property
    def pid(self) -> int | None:
        """Process id while the broker runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, *, detached: bool = False, deadline_s: float = START_DEADLINE_S) -> None:
        """Start the broker, and wait until it answers clients.

        Args:
            detached: True to let the broker outlive this process; else it ends with this process.
            deadline_s: seconds within which the broker must answer clients.

        Raises:
            KafkaServerError: Java or the jars are missing, the port is taken, or the deadline has passed.
        """
        if self.pid is not None:
            return
        java, jars = java_command(), prepare_jars()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            self._choose_ports()
            settings = self._write_properties()
            classpath = f"{jars}/*"
            if not (self.data_dir / "log" / "meta.properties").exists():
                self._format(java, classpath, settings)
            self._spawn(java, classpath, settings, detached)
            try:
                self._wait_until_ready(deadline_s)
            except _PortTakenError:
                if self._given_port is not None or attempt == START_ATTEMPTS:
                    raise
                self._ports = Ports(plain=0, controller=0)
            else:
                log.info("kafka-started", bootstrap=self.bootstrap, pid=self.pid, log=str(self.log_file))
                return

    def stop(self, *, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Shut the broker down; kill it if that takes longer than ``deadline_s``."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def kill(self) -> None:
        """Kill the broker by SIGKILL, like a crash. Data and port are kept for the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again with the same data and port."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Start the broker."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the broker."""
        self.stop()

    def _forget(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def _choose_ports(self) -> None:
        """Choose ports: those of clients once, that of the controller at every start."""
        free = _free_ports(4)
        kept, security = self._ports, self._security
        self._ports = Ports(
            plain=kept.plain or free[0],
            controller=free[1],
            sasl=kept.sasl or (free[2] if security.users else 0),
            tls=kept.tls or (free[3] if security.tls_keystore else 0),
        )

    def _write_properties(self) -> Path:
        path = self.data_dir / "server.properties"
        lines = server_properties(self.data_dir / "log", self._ports, self._security) | self._properties
        path.touch(mode=0o600)  # the file may contain passwords of the SASL listener
        path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        return path

    def _format(self, java: str, classpath: str, settings: Path) -> None:
        command = [java, "-Xmx128m", "-cp", classpath, "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", CLUSTER_ID, "--config", str(settings)]
        for name, password in self._security.users.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_DEADLINE_S)
        if done.returncode != 0:
            output_lines = (done.stderr or done.stdout).splitlines()
            reason = next((line for line in output_lines if "Exception" in line), (output_lines or ["no message"])[-1])
            raise KafkaServerError(f"Apache Kafka could not format {self.data_dir}: {reason.strip()}")

    def _spawn(self, java: str, classpath: str, settings: Path, detached: bool) -> None:
        command = [java, f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC"]
        command += [f"-Dlog4j2.configurationFile={LOG_CONFIGURATION}", "-cp", classpath]
        command += ["kafka.Kafka", str(settings)]
        setpriv = shutil.which("setpriv")
        # The kernel kills the broker with its parent *thread*, so only the main thread may request that.
        if not detached and setpriv and threading.current_thread() is threading.main_thread():
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log_file.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        if not detached:
            atexit.register(self.kill)

    def _wait_until_ready(self, deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        assert self._process is not None
        while time.monotonic() < end:
            if self._process.poll() is not None:
                self._forget()
                self._raise_from_log()
            if answers_clients(self.bootstrap, timeout_s=1.0):
                return
        self.kill()
        raise KafkaServerError(f"Apache Kafka did not answer within {deadline_s:.0f} s: read {self.log_file}")

    def _raise_from_log(self) -> None:
        with self.log_file.open("rb") as written:
            written.seek(self._log_start)
            text = written.read().decode(errors="replace")
        if "Address already in use" in text:
            raise _PortTakenError(f"a port is in use: free {self.bootstrap}, or start without --port")
        reason = next((line for line in reversed(text.splitlines()) if "ERROR" in line), "no error logged")
        raise KafkaServerError(f"Apache Kafka ended while starting ({reason.strip()}): read {self.log_file}")


class _PortTakenError(KafkaServerError):
    """The broker could not bind to a port."""


def answers_clients(bootstrap: str, *, timeout_s: float) -> bool:
    """Return True if a broker answers a metadata request within ``timeout_s`` seconds."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda error: None})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def _free_ports(count: int) -> list[int]:
    """Return different ports of loopback that are currently free."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def stop_process(pid: int, *, deadline_s: float = STOP_DEADLINE_S) -> None:
    """Stop a broker that another process started, by SIGTERM, or by SIGKILL after ``deadline_s``."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            return
        end = time.monotonic() + deadline_s
        while is_alive(pid) and time.monotonic() < end:
            time.sleep(0.1)
        if not is_alive(pid):
            return


def is_alive(pid: int) -> bool:
    """Return True if a process runs; a zombie does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # the system has no /proc, or the process has just ended
        return not Path("/proc/self").exists()
    return state != "Z"
