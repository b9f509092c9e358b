"""Request a retraining and follow its reports on ``training-reports``."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from pydantic import ValidationError

from stream.contract import TERMINAL_STATES, RetrainOptions, RetrainRequest, TrainingReport
from stream.kafka.admin import admin_client
from stream.kafka.clients import check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.reading.reader import StartAt, TopicReader
from stream.kafka.topics import require_existing
from stream.settings import Settings
from training.sidecar.requests.reports import request_record


def new_request(spec: str, options: RetrainOptions, note: str) -> RetrainRequest:
    """Return a request by the user of this process."""
    return RetrainRequest(
        request_id=str(uuid.uuid4()),
        spec=spec,
        reason="demand",
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        at=datetime.now(UTC),
        options=options,
        note=note,
    )


async def request_retraining(
    settings: Settings,
    request: RetrainRequest,
    *,
    wait_s: float | None = None,
    on_report: Callable[[TrainingReport], None] = lambda _: None,
) -> TrainingReport | None:
    """Send a request and, with ``wait_s``, follow the retraining to its final report.

    Args:
        settings: broker and topics.
        request: request to send.
        wait_s: longest wait for the final report, seconds; None does not wait.
        on_report: called with every report before the final one.

    Returns:
        The final report; None without ``wait_s``, or if no final report arrived in time.

    Raises:
        BrokerError: if the broker cannot be reached, the login fails or a topic is missing.
    """
    broker = await check_reachable(settings)
    async with admin_client(settings) as admin:
        await require_existing(
            admin, settings, [settings.topic_retrain, settings.topic_reports], create=broker.embedded
        )
    with broker_errors(settings):
        if wait_s is None:
            await _send(settings, request)
            return None
        try:
            async with asyncio.timeout(wait_s), aclosing(_reports(settings, request)) as reports:
                async for report in reports:
                    if report.state in TERMINAL_STATES:
                        return report
                    on_report(report)
        except TimeoutError:
            return None
    return None


async def _send(settings: Settings, request: RetrainRequest) -> None:
    record = request_record(request, settings)
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        await producer.send_and_wait(record.topic, record.value, record.key, headers=list(record.headers))


async def _reports(settings: Settings, request: RetrainRequest) -> AsyncGenerator[TrainingReport]:
    """Send the request and yield all reports on it."""
    async with TopicReader(settings, [settings.topic_reports], StartAt("latest")) as reader:
        await _send(settings, request)
        while True:
            for record in itertools.chain(*(await reader.fetch()).values()):
                report = read_report(record.value)
                if report is not None and request.request_id in report.request_ids:
                    yield report


def read_report(value: bytes | None) -> TrainingReport | None:
    """Return the report in the value of a record; None if the value is not a report."""
    try:
        return TrainingReport.model_validate_json(value or b"")
    except ValidationError:
        return None
