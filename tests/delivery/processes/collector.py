"""A collector of traces on loopback: it receives OTLP over HTTP as a real one does, and keeps what it received."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Serve while inside ``with``.

    Args:
        answer: set to answer; a collector that hangs is one whose event is not set.
    """

    def __init__(self, answer: threading.Event | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Path and headers of every request."""
        self.spans: list[tuple[str, Any]] = []
        """Service and span."""
        self.asked = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._keep(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                if answer is not None:
                    answer.wait()
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _keep(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.requests.append((path, headers))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(named["service.name"], span) for span in scope.spans]
        self.asked.set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def names(self, trace_id: str) -> list[str]:
        """Return the names of a trace's spans."""
        return sorted(span.name for _, span in self.spans if span.trace_id.hex() == trace_id)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
