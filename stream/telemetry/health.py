"""Serve health, readiness and metrics over HTTP, on loopback by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stream.errors import WorkerError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Conditions of a worker's readiness."""

    model: bool
    """True if the artefact is verified, compiled and warmed up."""
    assigned: bool
    """True if the group has assigned partitions to this worker (possibly none)."""
    publishing: bool
    """True if no publish is being retried."""
    failed: bool
    """True if the pipeline has failed or the worker is stopping; the process is about to end."""

    @property
    def ready(self) -> bool:
        """Return True if windows sent now would be classified."""
        return self.model and self.assigned and self.publishing and not self.failed


class HealthServer:
    """Server of ``/healthz`` (the event loop answers), ``/readyz`` (windows are classified) and ``/metrics``.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one, see ``port`` after ``start``.
        readiness: called for every ``/readyz``.
        registry: metrics to expose.
        refresh: called before the metrics are rendered.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        readiness: Callable[[], Readiness],
        registry: CollectorRegistry,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._host, self.port = host, port
        self._readiness = readiness
        self._registry = registry
        self._refresh = refresh
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Start to listen.

        Raises:
            WorkerError: the address cannot be used, e.g. because another process uses the port.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise WorkerError(
                f"cannot listen on {self._host}:{self.port} ({error.strerror or error}); "
                "set FAULTLINE_WEB_PORT to a free port, or to 0 to choose one"
            ) from error
        self.port = self._runner.addresses[0][1]
        log.info("web-listening", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _: web.Request) -> web.Response:
        readiness = self._readiness()
        body = {"ready": readiness.ready, **asdict(readiness)}
        return web.json_response(body, status=200 if readiness.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
