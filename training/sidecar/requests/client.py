"""Requests a retraining and follows its reports on ``training-reports``."""

from __future__ import annotations

import asyncio
import getpass
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import ValidationError

from stream.contract import TERMINAL_STATES, RetrainOptions, RetrainRequest, TrainingReport
from stream.errors import TopicError
from stream.kafka.clients import check_reachable, consumer_kwargs, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.topics import check_topics
from stream.settings import Settings
from training.sidecar.requests.reports import request_record

POLL_MS = 300


def new_request(spec: str, options: RetrainOptions, note: str) -> RetrainRequest:
    """Return a request by the person at this terminal."""
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
        request: to send.
        wait_s: longest wait for the final report; None does not wait.
        on_report: called with every report before the final one.

    Returns:
        The final report; None where it was not waited for, or did not come in time.

    Raises:
        BrokerError: no connection, no login, or a topic is missing.
    """
    await check_reachable(settings)
    missing = [
        finding.name
        for finding in await check_topics(settings, [settings.topic_retrain, settings.topic_reports])
        if finding.missing
    ]
    if missing:
        raise TopicError(f"missing topics {', '.join(missing)}: faultline topics create")
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
    """Send the request and yield all reports on it, from the first one."""
    consumer = AIOKafkaConsumer(**consumer_kwargs(settings))
    await consumer.start()
    try:
        numbers = await consumer._client._wait_on_metadata(settings.topic_reports)
        partitions = [TopicPartition(settings.topic_reports, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        for partition, offset in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, offset)
        await _send(settings, request)
        while True:
            fetched = await consumer.getmany(timeout_ms=POLL_MS)
            for record in (record for records in fetched.values() for record in records):
                report = read_report(record.value)
                if report is not None and request.request_id in report.request_ids:
                    yield report
    finally:
        await consumer.stop()


def read_report(value: bytes | None) -> TrainingReport | None:
    """Return the report in a record's value; None where it is none."""
    try:
        return TrainingReport.model_validate_json(value or b"")
    except ValidationError:
        return None
