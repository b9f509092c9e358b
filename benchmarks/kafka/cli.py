"""``python -m benchmarks.kafka``: Apache Kafka from this checkout, for development."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.kafka.server import KafkaServer

app = typer.Typer(
    help="Apache Kafka on this machine, for development (needs Java 17 and, the first time, Maven).",
    no_args_is_help=True,
)

DEFAULT_PORT = 9092  # where FAULTLINE_BROKER looks when unset

DataDir = Annotated[
    Path | None, typer.Option(help="Folder for log segments, kafka.log and the pid file; .kafka/data when unset.")
]


@app.command()
def start(
    port: Annotated[
        int | None,
        typer.Option(help="Port on loopback; when unset, 9092, or a free one if 9092 is taken.", min=1, max=65535),
    ] = None,
    data_dir: DataDir = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once Kafka answers, and leave it running; 'stop' ends it.")
    ] = False,
) -> None:
    """Start Apache Kafka on loopback, and print its address.

    Data are kept from one start to the next. Without --detach it runs until Ctrl-C.

    Example: python -m benchmarks.kafka start --detach && faultline topics create && faultline worker
    """
    from benchmarks.kafka.server import KafkaServer
    from stream.errors import KafkaServerError
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    configure_logs(load_settings())  # only the address is printed on standard output
    folder = _folder(data_dir)
    running = _running(folder)
    if running is not None:
        raise KafkaServerError(
            f"Apache Kafka is already running at {running[1]} (process {running[0]}): use it, or stop it by:"
            " python -m benchmarks.kafka stop"
        )
    server = KafkaServer(folder, port=port or (DEFAULT_PORT if _is_free(DEFAULT_PORT) else None))
    server.start(detached=detach)
    _pid_file(folder).write_text(f"{server.pid} {server.bootstrap}\n")
    typer.echo(server.bootstrap)
    if not detach:
        try:
            _wait_for_the_end(server)
        finally:
            server.stop()
            _pid_file(folder).unlink(missing_ok=True)


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the Apache Kafka that 'start' left running.

    Example: python -m benchmarks.kafka stop
    """
    from benchmarks.kafka.server import stop_process
    from stream.errors import KafkaServerError

    folder = _folder(data_dir)
    running = _running(folder)
    if running is None:
        raise KafkaServerError(f"no Apache Kafka of this command is running on {folder}, so there is nothing to stop")
    stop_process(running[0])
    _pid_file(folder).unlink(missing_ok=True)
    typer.echo(f"stopped {running[1]}")


@app.command()
def status(data_dir: DataDir = None) -> None:
    """Print the address of the running Apache Kafka; the exit status is 1 if none answers.

    Example: FAULTLINE_BROKER=$(python -m benchmarks.kafka status) faultline worker
    """
    from benchmarks.kafka.server import answers_clients
    from stream.errors import KafkaServerError

    folder = _folder(data_dir)
    running = _running(folder)
    if running is None:
        raise KafkaServerError(
            f"no Apache Kafka of this command is running on {folder}: start it by: python -m benchmarks.kafka start"
        )
    if not answers_clients(running[1], timeout_s=5.0):
        raise KafkaServerError(f"process {running[0]} does not answer at {running[1]}: read {folder / 'kafka.log'}")
    typer.echo(running[1])


def _folder(data_dir: Path | None) -> Path:
    from benchmarks.kafka.jars import STATE_FOLDER

    return (data_dir if data_dir is not None else STATE_FOLDER / "data").resolve()


def _pid_file(folder: Path) -> Path:
    return folder / "kafka.pid"


def _running(folder: Path) -> tuple[int, str] | None:
    """Return process id and address of a broker started by this command; None if the pid belongs to another program."""
    try:
        number, address = _pid_file(folder).read_text().split()
        pid = int(number)
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    command_line = Path(f"/proc/{pid}/cmdline")
    if command_line.exists() and str(folder).encode() not in command_line.read_bytes():
        return None
    return pid, address


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_for_the_end(server: KafkaServer) -> None:
    """Wait for Ctrl-C, SIGTERM, or the end of the broker."""
    asked = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda number, frame: asked.set())
    while server.pid is not None and not asked.wait(0.2):
        pass
