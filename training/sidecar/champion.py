"""Read the champion from the topic ``models``, else the configured or shipped artefact, and publish a new champion."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from model.artefact import Artefact
from model.errors import ArtefactError
from model.spec import SignalSpec
from stream.errors import ModelRefusedError
from stream.registry.initial import choose_artefact
from stream.registry.records import accepted, champion_key
from stream.registry.topic import public_keys, publish_model, read_models, signing_key
from stream.settings import Settings

log = structlog.get_logger(__name__)

PROMOTED_BY = "trainer"


class ChampionRegistry:
    """Access to the champion of one spec on the topic ``models``.

    Args:
        settings: broker, topic, keys.
        spec: spec of the models.

    Raises:
        SettingsError: if workers with the same settings would refuse the models that this sidecar publishes.
        SigningError: if a key cannot be read.
        ArtefactError: if the configured artefact cannot be used.
    """

    def __init__(self, settings: Settings, spec: SignalSpec) -> None:
        self._settings, self._spec = settings, spec
        self._keys = public_keys(settings)
        signing_key(settings)  # read now, so that a wrong key is reported before a model is trained
        self._first = self._given_or_shipped()

    def _given_or_shipped(self) -> Artefact | None:
        if self._settings.model is not None:
            return choose_artefact(self._settings, self._spec)[0]
        try:
            return choose_artefact(self._settings, self._spec)[0]
        except ArtefactError as error:
            # The first model of a spec has no champion to be compared with.
            log.info("no-champion-yet", spec=self._spec.name, reason=str(error))
            return None

    async def current(self) -> Artefact | None:
        """Return the model that workers use: the champion on the topic, or their first artefact if they refuse it.

        Returns:
            The model; None if the spec has no model yet.

        Raises:
            BrokerError: if the topic cannot be read.
        """
        record = (await read_models(self._settings)).get(champion_key(self._spec.name))
        if record is None:
            return self._first
        try:
            return accepted(record, keys=self._keys, max_bytes=self._settings.model_max_bytes, spec=self._spec)
        except ModelRefusedError as error:
            log.warning("champion-refused", reason=error.reason, error=str(error), then="it is ignored")
            return self._first

    async def publish(self, artefact: Artefact, reason: str) -> None:
        """Publish ``artefact`` as the champion; return once the broker has acknowledged it.

        Raises:
            FaultlineError: if it cannot be signed or published.
        """
        await publish_model(
            self._settings,
            artefact,
            spec=self._spec.name,
            at=datetime.now(UTC),
            by=PROMOTED_BY,
            reason=reason,
        )
        log.info("champion-published", model_id=artefact.model_id, reason=reason)
