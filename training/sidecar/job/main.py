"""Run the child process of a retraining: ``python -m training.sidecar.job.main FOLDER``.

The process trains the candidate described by ``FOLDER/order.json``, evaluates it against ``champion.safetensors``, if
there is one, and writes the candidate, its report and ``outcome.json``. If it is killed and started again on the same
folder, it resumes from the files there. It ends when its parent ends, since only the parent uses its result.
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
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from training.gate.gate import Criterion

# TensorFlow is imported inside functions, after ``main`` has redirected its output and set its environment.

TRAINED = 0.6
"""Progress at the end of the training; the evaluation of two models takes the rest."""

OnProgress = Callable[[float, str, str | None], None]
"""Function that is called with the progress, 0 to 1, the stage, and the candidate's id once it is known."""
OOM_SCORE = Path("/proc/self/oom_score_adj")
FIRST_TO_DIE = 1000
"""Highest value of ``oom_score_adj``: if memory runs out, Linux kills this process before any other."""


def run(folder: Path, on_progress: OnProgress) -> Outcome:
    """Complete the job in ``folder`` and return its outcome.

    Args:
        folder: folder with ``order.json`` and, if there is one, the champion.
        on_progress: called with progress, stage and the candidate's id.

    Raises:
        FaultlineError: if the job cannot be done.
        OSError: if the folder cannot be written.
    """
    from model.artefact import Artefact
    from training.sidecar.job.size import sized_job
    from training.sidecar.job.train import train_candidate

    job = JobSpec.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    # Before TensorFlow is imported, so that a retraining that does not fit into memory fails at once.
    job, note = sized_job(job, folder)
    if note:
        on_progress(0.0, note, None)
    candidate = folder / CANDIDATE
    if not candidate.exists():
        train_candidate(job, folder, lambda part, stage: on_progress(TRAINED * part, stage, None)).save(candidate)
        shutil.rmtree(folder / WORK, ignore_errors=True)
    artefact = Artefact.load(candidate)
    champion = folder / CHAMPION
    champion_id = Artefact.load(champion).model_id if champion.exists() else None

    def on_evaluation(part: float, stage: str) -> None:
        on_progress(TRAINED + (1 - TRAINED) * part, stage, artefact.model_id)

    outcome = evaluate_candidate(job, folder, artefact.model_id, champion_id, on_evaluation)
    outcome = outcome.model_copy(update={"note": note})
    write_text_atomic(folder / OUTCOME, outcome.model_dump_json(indent=1) + "\n")
    return outcome


def evaluate_candidate(
    job: JobSpec, folder: Path, model_id: str, champion_id: str | None, on_progress: Callable[[float, str], None]
) -> Outcome:
    """Evaluate the candidate, and the champion if there is one; write the report and return the gate's verdict."""
    from model.spec import load_spec
    from training.gate.gate import Verdict
    from training.recipe import recipe_of
    from training.report.collect import ReportOptions, collect
    from training.report.render import write

    recipe = recipe_of(load_spec(job.spec))
    conditions = 1 + len(recipe.conditions) if recipe.conditions and job.evaluation_episodes else 0
    steps = 13 + 2 * conditions
    done = 0

    def step(stage: str) -> None:
        nonlocal done
        done += 1
        on_progress(min(done / steps, 1.0), stage)

    options = ReportOptions(
        model=folder / CANDIDATE,
        champion=None if champion_id is None else folder / CHAMPION,
        data=job.data,
        episodes=job.evaluation_episodes,
        lines=job.evaluation_lines,
    )
    data = collect(options, step=step)
    step("evaluating labelled windows")
    criterion, feedback = evaluate_on_feedback(job.spec, folder, champion_id is not None)
    if criterion is not None:
        data = data.model_copy(update={"verdict": Verdict.of((*data.verdict.criteria, criterion))})
    step("writing the report")
    put_report(folder, lambda place: write(data, place))
    scores = data.gate_scores
    metrics = {"holdout_merged_macro_f1": scores.holdout, "expected_calibration_error": scores.ece}
    if scores.cells:
        metrics["worst_condition_merged_macro_f1"] = min(scores.cells.values())
    if scores.events is not None:
        metrics |= scores.events.model_dump(exclude={"faults", "line_hours"}, exclude_none=True)
    metrics |= feedback
    return Outcome(
        model_id=model_id,
        champion_id=champion_id,
        passed=data.verdict.passed,
        failed_criteria=[criterion.text for criterion in data.verdict.failed],
        metrics=metrics,
    )


def evaluate_on_feedback(
    spec_name: str, folder: Path, with_champion: bool
) -> tuple[Criterion | None, dict[str, float]]:
    """Compare candidate and champion on the labelled windows that every training holds out.

    Args:
        spec_name: name of the models' spec.
        folder: folder of the retraining, with the models and the snapshot of the store.
        with_champion: True if the folder holds a champion.

    Returns:
        The gate's criterion, or None if there is none, and the scores by name.
    """
    from model.artefact import Artefact
    from model.engine import Engine
    from model.spec import load_spec
    from training.data.feedback import feedback_scores, split_feedback
    from training.gate.gate import feedback_criterion
    from training.recipe import recipe_of
    from training.sidecar.job.train import read_feedback

    spec = load_spec(spec_name)
    recipe = recipe_of(spec)
    labelled = read_feedback(folder, spec, recipe.steps)
    if labelled is None:
        return None, {}
    hold_out = split_feedback(labelled).hold_out
    scores = {}
    for name in (CANDIDATE, CHAMPION) if with_champion else (CANDIDATE,):
        with Engine(Artefact.load(folder / name)) as engine:
            scores[name] = feedback_scores(engine.follow_records, hold_out, engine.spec)
    candidate, champion = scores[CANDIDATE], scores.get(CHAMPION, {})
    metrics = {f"field_{name}": float(value) for name, value in candidate.items() if value is not None}
    metrics |= {f"champion_field_{name}": float(value) for name, value in champion.items() if value is not None}
    score = "merged_accuracy"
    criterion = feedback_criterion(candidate.get(score), champion.get(score), candidate["windows"], recipe.thresholds())
    return criterion, metrics


def put_report(folder: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary folder, then rename the folder; first remove the folder of a killed attempt."""
    partial = folder / f".{REPORT}.partial"
    for old in (partial, folder / REPORT):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()
    write(partial)
    partial.rename(folder / REPORT)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait for exclusive use of ``folder``; a child whose sidecar was killed takes a moment to end."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def end_with_parent() -> None:
    """End this process when its standard input closes, which happens when its parent ends or abandons it."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def die_first() -> None:
    """Make Linux kill this process first if memory runs out: the sidecar can restart it, but cannot restart itself."""
    with contextlib.suppress(OSError):  # another operating system, or no permission
        OOM_SCORE.write_text(f"{FIRST_TO_DIE}\n", encoding="ascii")


def main(arguments: list[str]) -> int:
    """Run the process on its arguments; return its exit status."""
    die_first()
    # Only the lines of ``send`` go to the pipe; the output of libraries goes to standard error.
    pipe = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    def send(progress: JobProgress) -> None:
        pipe.write(progress.model_dump_json(exclude_none=True) + "\n")

    folder = Path(arguments[0])
    try:
        configure_logs(load_settings())
        end_with_parent()
        with exclusive(folder):
            job = JobSpec.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
            structlog.contextvars.bind_contextvars(run_id=job.run_id)
            os.nice(job.nice)
            run(folder, lambda part, stage, model: send(JobProgress(progress=part, stage=stage, model_id=model)))
    except (FaultlineError, ValidationError, json.JSONDecodeError) as error:
        send(JobProgress(failed=str(error)))
        return 1
    except OSError as error:
        send(JobProgress(failed=f"{error.filename or folder}: {error.strerror or error}"))
        return 1
    except MemoryError:
        send(JobProgress(failed="out of memory: add memory, or lower FAULTLINE_RETRAIN_EPISODES"))
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.sidecar.job.main FOLDER")
    sys.exit(main(sys.argv[1:]))
