"""Settings of the sidecar (``faultline trainer``): its folder, triggers, and the limits of a retraining."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

DAY_S = 86_400
LEAST_TOKEN = 16
"""Smallest length of a token: 64 bits if it is hexadecimal, too many to guess over a rate-limited endpoint."""


class SidecarSettings(BaseSettings):
    """Fields of ``stream.settings.Settings`` for ``faultline trainer``. The defaults suit a small machine."""

    trainer_group: str = Field(
        "faultline-trainer",
        min_length=1,
        description="Consumer group of the trainer. A second group, named with the suffix -requests-SPEC, reads the "
        "retraining requests.",
    )
    trainer_folder: Path = Field(
        Path("trainer"),
        description="Folder for the stored windows, the retraining in progress, and the reports and candidates of "
        "earlier ones. One trainer uses a folder at a time.",
    )
    trainer_web_port: int = Field(
        8067,
        ge=0,
        le=65535,
        description="Port on which the trainer serves health and metrics, at the address FAULTLINE_WEB_HOST; 0 takes "
        "a free port.",
    )

    # Triggers
    retrain_schedule: str | None = Field(
        None,
        description="Cron expression in UTC for scheduled retrainings, e.g. '0 3 * * 0' for Sundays at 03:00; no "
        "schedule when unset.",
    )
    retrain_on_drift: bool = Field(
        True, description="Request a retraining when the windows or the model's confidence drift."
    )
    drift_reference_s: float = Field(
        300.0,
        gt=0,
        le=30 * DAY_S,
        description="Reference period in seconds at the start of a line's windows, with which its later windows are "
        "compared to find drift. Measured in the windows' own time.",
    )
    drift_lasting_s: float = Field(
        300.0,
        gt=0,
        le=30 * DAY_S,
        description="Time in seconds that a change must last to count as drift. Measured in the windows' own time.",
    )
    drift_pause_s: float = Field(
        6 * 3600.0,
        ge=0,
        le=365 * DAY_S,
        description="Time in seconds after a drift report in which drift is not reported again. Measured in the "
        "windows' own time.",
    )
    retrain_http_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the endpoint POST /retrain; 0 takes a free port. The endpoint is off when unset; when "
        "set, FAULTLINE_RETRAIN_TOKEN is required.",
    )
    retrain_http_host: str = Field(
        "127.0.0.1", min_length=1, description="Address of the endpoint POST /retrain; loopback by default."
    )
    retrain_token: SecretStr | None = Field(
        None, description="Bearer token that POST /retrain requires, of at least 16 characters; never logged."
    )
    retrain_http_per_hour: int = Field(
        6,
        ge=1,
        le=3600,
        description="Requests that POST /retrain accepts per hour. The limit is low because a retraining takes "
        "minutes of computing.",
    )

    # Recipe of a retraining
    retrain_epochs: int | None = Field(
        None, ge=1, le=10_000, description="Epochs of a retraining; the recipe's number when unset."
    )
    retrain_episodes: int | None = Field(
        None,
        ge=100,
        le=10_000_000,
        description="Episodes that a retraining simulates for its training; the recipe's number when unset.",
    )
    retrain_warm_start: bool = Field(
        False,
        description="Start a retraining of spec line from the champion's weights instead of random ones, which takes "
        "far fewer epochs.",
    )
    retrain_data: Path | None = Field(
        None, description="Path of classData.csv, on which spec instant is trained and evaluated."
    )
    evaluation_episodes: int = Field(
        110,
        ge=0,
        le=100_000,
        description="Simulated records per fault condition and severity level on which the gate evaluates a "
        "candidate; 0 leaves the conditions out.",
    )
    evaluation_lines: int = Field(
        30,
        ge=1,
        le=10_000,
        description="Simulated lines in the hold-out set on which a candidate is evaluated, 64 s each.",
    )

    # Limits of a retraining
    retrain_memory_mb: int | None = Field(
        None,
        ge=256,
        description="Resident memory in MiB above which the child process of a retraining is ended. When unset, the "
        "limit "
        "is the free memory of the container or the machine at the start of the retraining, less a reserve. If the "
        "recipe needs more, the retraining simulates fewer episodes and reports this.",
    )
    retrain_time_limit_s: float = Field(
        3 * 3600.0, gt=0, le=7 * DAY_S, description="Time in seconds after which an attempt of a retraining is ended."
    )
    retrain_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts per retraining. When its child process crashes, the next attempt resumes from the last "
        "checkpoint.",
    )
    retrain_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="Niceness of a retraining's child process: workers on the same machine get the CPU first.",
    )

    # Retention
    store_labelled_mb: int = Field(
        256, ge=1, description="Space in MiB for labelled windows; the default holds 350,000 windows of 32 x 6 values."
    )
    store_labelled_days: float = Field(
        365.0, gt=0, description="Days for which labelled windows are kept: a year, because labelled faults are rare."
    )
    store_event_mb: int = Field(
        128, ge=1, description="Space in MiB for unlabelled windows near fault events, which may be labelled later."
    )
    store_event_days: float = Field(
        30.0,
        gt=0,
        description="Days for which unlabelled windows near fault events are kept: as long as the events stay on "
        "their topics.",
    )
    store_waiting_mb: int = Field(256, ge=1, description="Space in MiB for all other unlabelled windows.")
    store_waiting_hours: float = Field(
        24.0,
        gt=0,
        description="Hours for which all other unlabelled windows are kept: as long as windows stay on their topic.",
    )
    store_simulated: bool = Field(
        False,
        description="Store windows of a simulator (of the demo and of faultline simulate), so that they can be "
        "labelled "
        "and train a model like windows of production. For trials only.",
    )
    keep_refused: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Refused candidates that are kept with their reports in FAULTLINE_TRAINER_FOLDER.",
    )
    keep_promoted: int = Field(
        20, ge=1, le=10_000, description="Reports of promoted models that are kept in FAULTLINE_TRAINER_FOLDER."
    )

    @field_validator("retrain_schedule")
    @classmethod
    def _a_schedule(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        # This import is here so that a worker, which has no schedule, does not load the parser.
        from croniter import croniter

        # A sixth field is refused: croniter reads it as seconds, and nobody wants a retraining every second.
        if len(value.split()) != 5 or not croniter.is_valid(value):
            raise ValueError(
                f"{value[:64]!r} is not a cron expression of five fields: minute hour day-of-month month day-of-week, "
                "e.g. '0 3 * * 0'"
            )
        return value

    @model_validator(mode="after")
    def _require_token(self) -> SidecarSettings:
        token = "" if self.retrain_token is None else self.retrain_token.get_secret_value()
        if self.retrain_http_port is not None and len(token) < LEAST_TOKEN:
            raise ValueError(
                f"retrain_http_port needs retrain_token of at least {LEAST_TOKEN} characters; create one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return self
