"""Settings of the sidecar (``faultline trainer``): its folder, when it retrains, and what one retraining may cost."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

DAY_S = 86_400
LEAST_TOKEN = 16
"""Characters: 64 bits where they are hexadecimal, which cannot be tried out over a rate-limited endpoint."""


class SidecarSettings(BaseSettings):
    """Fields of ``stream.settings.Settings`` for ``faultline trainer``. The defaults fit a small machine."""

    trainer_group: str = Field(
        "faultline-trainer",
        min_length=1,
        description="Consumer group of the trainer; a second one, for requests, has -requests-SPEC behind the name.",
    )
    trainer_folder: Path = Field(
        Path("trainer"), description="Labelled windows, the retraining under way, and what became of candidates."
    )
    trainer_web_port: int = Field(
        8067, ge=0, le=65535, description="Health and metrics, on FAULTLINE_WEB_HOST; 0 takes a free port."
    )

    # When
    retrain_schedule: str | None = Field(
        None, description="Cron expression in UTC, e.g. '0 3 * * 0' for Sundays at three; never when unset."
    )
    retrain_on_drift: bool = Field(True, description="Retrain when windows or confidence drift.")
    drift_reference_s: float = Field(
        300.0, gt=0, le=30 * DAY_S, description="A line's first time, which it is compared with; of the windows' time."
    )
    drift_lasting_s: float = Field(300.0, gt=0, le=30 * DAY_S, description="A change that is gone sooner is no drift.")
    drift_pause_s: float = Field(
        6 * 3600.0, ge=0, le=365 * DAY_S, description="After drift was found it is not reported again for so long."
    )
    retrain_http_port: int | None = Field(
        None, ge=0, le=65535, description="POST /retrain listens here; nothing does when unset. 0 takes a free port."
    )
    retrain_http_host: str = Field("127.0.0.1", min_length=1, description="…on this address; loopback by default.")
    retrain_token: SecretStr | None = Field(
        None, description="Bearer token that POST /retrain wants, 16 characters or more; never logged."
    )
    retrain_http_per_hour: int = Field(
        6, ge=1, le=3600, description="Requests that POST /retrain takes: a retraining is minutes of computing."
    )

    # What one retraining is
    retrain_epochs: int | None = Field(None, ge=1, le=10_000, description="Epochs; those of the recipe when unset.")
    retrain_episodes: int | None = Field(
        None, ge=100, le=10_000_000, description="Simulated episodes; those of the recipe when unset."
    )
    retrain_warm_start: bool = Field(
        False,
        description="line: go on from the champion's weights, which takes far fewer epochs.",
    )
    retrain_data: Path | None = Field(None, description="classData.csv; spec instant is trained and evaluated on it.")
    evaluation_episodes: int = Field(
        110, ge=0, le=100_000, description="Records per condition and level that the gate evaluates; 0 evaluates none."
    )
    evaluation_lines: int = Field(30, ge=1, le=10_000, description="Lines of the hold-out, 64 s each.")

    # What one retraining may cost
    retrain_memory_mb: int = Field(
        12288, ge=256, description="Resident memory in MiB beyond which the child process of a retraining is ended."
    )
    retrain_time_limit_s: float = Field(
        3 * 3600.0, gt=0, le=7 * DAY_S, description="Time after which an attempt is ended."
    )
    retrain_attempts: int = Field(
        3, ge=1, le=100, description="A child that dies of itself goes on from its checkpoint, at most so often."
    )
    retrain_nice: int = Field(10, ge=0, le=19, description="Niceness of the child: workers beside it come first.")

    # What is kept
    store_labelled_mb: int = Field(256, ge=1, description="Labelled windows; 350,000 of them at 32 x 6 values.")
    store_labelled_days: float = Field(365.0, gt=0, description="…and for how long: a labelled fault is rare.")
    store_event_mb: int = Field(128, ge=1, description="Unlabelled windows of fault events; labels may come later.")
    store_event_days: float = Field(30.0, gt=0, description="…and for how long: as events stay on their topics.")
    store_waiting_mb: int = Field(256, ge=1, description="All other unlabelled windows.")
    store_waiting_hours: float = Field(24.0, gt=0, description="…and for how long: as windows stay on their topic.")
    keep_refused: int = Field(10, ge=0, le=10_000, description="Refused candidates kept with their reports.")
    keep_promoted: int = Field(20, ge=1, le=10_000, description="Reports of promoted models kept.")

    @field_validator("retrain_schedule")
    @classmethod
    def _a_schedule(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        # Here: a worker, which has no schedule, is not to load the parser.
        from croniter import croniter

        # Of six fields the last would be seconds: a retraining every second is a misreading.
        if len(value.split()) != 5 or not croniter.is_valid(value):
            raise ValueError(
                f"{value[:64]!r} is no cron expression of five fields: minute hour day-of-month month day-of-week, "
                "e.g. '0 3 * * 0'"
            )
        return value

    @model_validator(mode="after")
    def _require_token(self) -> SidecarSettings:
        token = "" if self.retrain_token is None else self.retrain_token.get_secret_value()
        if self.retrain_http_port is not None and len(token) < LEAST_TOKEN:
            raise ValueError(
                f"retrain_http_port needs retrain_token, of at least {LEAST_TOKEN} characters: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
            )
        return self
