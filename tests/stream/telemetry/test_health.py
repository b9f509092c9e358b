"""Health pages over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from stream.errors import WorkerError
from stream.telemetry.health import HealthServer, Readiness
from stream.worker.metrics import WorkerMetrics

READY = Readiness(model=True, assigned=True, publishing=True, failed=False)


class Served:
    def __init__(self) -> None:
        self.readiness = READY
        self.metrics = WorkerMetrics()
        self.refreshed = 0
        self.server = HealthServer(
            "127.0.0.1", 0, readiness=lambda: self.readiness, registry=self.metrics.registry, refresh=self._refresh
        )

    def _refresh(self) -> None:
        self.refreshed += 1
        self.metrics.lag.set(7)

    async def get(self, path: str) -> tuple[int, str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.server.port}{path}") as response,
        ):
            return response.status, await response.text(), response.headers


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    await made.server.start()
    yield made
    await made.server.stop()


async def test_a_free_port_is_taken_and_reported(served: Served) -> None:
    assert served.server.port > 0


async def test_healthz_says_alive_even_when_not_ready(served: Served) -> None:
    served.readiness = Readiness(model=False, assigned=False, publishing=False, failed=True)
    assert (await served.get("/healthz"))[:2] == (200, '{"status": "alive"}')


async def test_readyz_is_200_when_windows_would_be_classified(served: Served) -> None:
    status, body, _ = await served.get("/readyz")
    assert (status, '"ready": true' in body) == (200, True)


@pytest.mark.parametrize("missing", ["model", "assigned", "publishing", "failed"])
async def test_readyz_is_503_and_says_what_is_missing(served: Served, missing: str) -> None:
    served.readiness = Readiness(
        **{**{name: getattr(READY, name) for name in READY.__slots__}, missing: missing == "failed"}
    )
    status, body, _ = await served.get("/readyz")
    assert status == 503
    assert f'"{missing}": {str(missing == "failed").lower()}' in body


async def test_metrics_are_refreshed_and_in_the_format_of_prometheus(served: Served) -> None:
    served.metrics.events.labels("lg", "onset").inc()
    status, body, headers = await served.get("/metrics")
    assert (status, served.refreshed) == (200, 1)
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert 'faultline_events_total{state="onset",type="lg"} 1.0' in body
    assert "faultline_lag_records 7.0" in body


async def test_no_metric_has_the_line_as_a_label(served: Served) -> None:
    labels = {label for family in served.metrics.registry.collect() for label in getattr(family, "_labelnames", ())}
    assert "line" not in labels


async def test_a_taken_port_is_one_clear_line(served: Served) -> None:
    port = served.server.port
    other = HealthServer("127.0.0.1", port, readiness=lambda: READY, registry=WorkerMetrics().registry)
    with pytest.raises(WorkerError, match=f"cannot listen on 127.0.0.1:{port} .*FAULTLINE_WEB_PORT") as caught:
        await other.start()
    assert "\n" not in str(caught.value)


async def test_after_its_stop_nobody_listens(served: Served) -> None:
    port = served.server.port
    await served.server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
