"""The child process of a retraining: ``python -m training.sidecar.job.main FOLDER``.

Trains what ``FOLDER/order.json`` asks for, judges it beside ``champion.safetensors``, where that is, and leaves the
candidate, its report and ``outcome.json``. Killed at any moment and started again on the same folder it goes on with
what is there. It ends when its parent does: nobody else would take what it makes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from pydantic import ValidationError

from model.errors import FaultlineError
from model.files import write_text_atomic
from training.sidecar.job.spec import (
    CANDIDATE,
    CHAMPION,
    JOB_FILE,
    OUTCOME,
    REPORT,
    WORK,
    JobProgress,
    JobSpec,
    Outcome,
)

TRAINED = 0.6
"""Part of the progress bar that the training is; judging two models is the rest."""

Tell = Callable[[float, str, str | None], None]


def run(folder: Path, tell: Tell) -> Outcome:
    """Do what is left to do in ``folder``.

    Args:
        folder: with ``order.json``, and the champion where there is one.
        tell: of progress, stage, and the candidate's id once there is one.

    Raises:
        FaultlineError: it cannot be done.
        OSError: the folder cannot be written.
    """
    from model.artefact import Artefact
    from training.sidecar.job.train import train_candidate

    job = JobSpec.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    candidate = folder / CANDIDATE
    if not candidate.exists():
        train_candidate(job, folder, lambda part, stage: tell(TRAINED * part, stage, None)).save(candidate)
        shutil.rmtree(folder / WORK, ignore_errors=True)
    artefact = Artefact.load(candidate)
    beside = folder / CHAMPION
    champion_id = Artefact.load(beside).model_id if beside.exists() else None

    def judging(part: float, stage: str) -> None:
        tell(TRAINED + (1 - TRAINED) * part, stage, artefact.model_id)

    outcome = judge(job, folder, artefact.model_id, champion_id, judging)
    write_text_atomic(folder / OUTCOME, outcome.model_dump_json(indent=1) + "\n")
    return outcome


def judge(
    job: JobSpec, folder: Path, model_id: str, champion_id: str | None, tell: Callable[[float, str], None]
) -> Outcome:
    """Write the candidate's report, beside the champion where there is one, and return what the gate says."""
    from training.evaluation.conditions import CONDITIONS
    from training.gate.gate import Verdict
    from training.report import ReportOptions, collect, write
    from training.sidecar.job.field_evidence import judged_by_field

    conditions = 1 + len(CONDITIONS) if job.spec == "line" and job.evaluation_episodes else 0
    steps = 13 + 2 * conditions
    done = 0

    def step(stage: str) -> None:
        nonlocal done
        done += 1
        tell(min(done / steps, 1.0), stage)

    options = ReportOptions(
        model=folder / CANDIDATE,
        champion=None if champion_id is None else folder / CHAMPION,
        data=job.data,
        episodes=job.evaluation_episodes,
        lines=job.evaluation_lines,
    )
    data = collect(options, step=step)
    step("judging by the field")
    criterion, field = judged_by_field(job.spec, folder, champion_id is not None)
    if criterion is not None:
        data = data.model_copy(update={"verdict": Verdict.of((*data.verdict.criteria, criterion))})
    step("writing the report")
    put_report(folder, lambda place: write(data, place))
    scores = data.gate_scores
    metrics = {"holdout_merged_macro_f1": scores.holdout, "expected_calibration_error": scores.ece}
    if scores.cells:
        metrics["worst_condition_merged_macro_f1"] = min(scores.cells.values())
    if scores.events is not None:
        metrics |= scores.events.model_dump(exclude={"faults", "line_hours"})
    metrics |= field
    return Outcome(
        model_id=model_id,
        champion_id=champion_id,
        passed=data.verdict.passed,
        failed_criteria=[criterion.text for criterion in data.verdict.failed],
        metrics=metrics,
    )


def put_report(folder: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a folder, and put it in its place whole; what an attempt that was killed left there goes."""
    partial = folder / f".{REPORT}.partial"
    for old in (partial, folder / REPORT):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()
    write(partial)
    partial.rename(folder / REPORT)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works in ``folder``: one whose trainer was killed takes a moment to end."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def end_with_parent() -> None:
    """End this process when its standard input does, which is when its parent dies or lets go of it."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Run as a process; returns its exit status."""
    # What libraries print must not get between our lines.
    pipe = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    def say(step: JobProgress) -> None:
        pipe.write(step.model_dump_json(exclude_none=True) + "\n")

    folder = Path(arguments[0])
    try:
        configure_logs(load_settings())
        end_with_parent()
        with alone(folder):
            job = JobSpec.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
            structlog.contextvars.bind_contextvars(run_id=job.run_id)
            os.nice(job.nice)
            run(folder, lambda part, stage, model: say(JobProgress(progress=part, stage=stage, model_id=model)))
    except (FaultlineError, ValidationError, json.JSONDecodeError) as error:
        say(JobProgress(failed=str(error)))
        return 1
    except OSError as error:
        say(JobProgress(failed=f"{error.filename or folder}: {error.strerror or error}"))
        return 1
    except MemoryError:
        say(JobProgress(failed="out of memory: give the machine more, or the retraining fewer episodes"))
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.sidecar.job.main FOLDER")
    sys.exit(main(sys.argv[1:]))
