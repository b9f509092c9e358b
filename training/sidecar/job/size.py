"""Reduce the size of a retraining if the memory does not allow the configured one."""

from __future__ import annotations

from pathlib import Path

import structlog

from model.spec import load_spec
from training.errors import TrainingError
from training.recipe import recipe_of
from training.sidecar.job.spec import FEEDBACK, JobSpec
from training.sidecar.store.store import LabelledStore

log = structlog.get_logger(__name__)


def sized_job(job: JobSpec, folder: Path) -> tuple[JobSpec, str]:
    """Return the job with as many episodes as its memory allows, and a note if these are fewer than configured.

    The same job and the same labelled windows give the same size, so that a retraining can be resumed.

    Args:
        job: job as written by the sidecar.
        folder: folder of the retraining, with the labelled windows.

    Returns:
        The job, and the note, which is empty if the job is not changed.

    Raises:
        TrainingError: if not even the smallest useful training fits into the memory.
    """
    recipe = recipe_of(load_spec(job.spec))
    need = recipe.memory(job.evaluation_lines)
    # A recipe that needs a file trains on it, whatever the number of episodes; others only evaluate on one.
    trains_on_file = job.data is not None and recipe.needs_data is not None
    if job.memory_mb is None or need is None or trains_on_file:
        return job, ""
    windows = labelled_windows(folder, job.spec)
    asked = job.episodes or need.default_episodes
    episodes = need.episodes_within(job.memory_mb, asked, windows)
    least = min(asked, need.least_episodes)
    beside = f" and {windows:,} labelled windows" if windows else ""
    if episodes < least:
        raise TrainingError(
            f"a retraining needs {need.needed_mb(least, windows):,} MiB of memory for {least:,} episodes{beside}, the "
            f"fewest for a usable model, and may use {job.memory_mb:,} MiB: give the container or the machine more "
            f"memory ({need.needed_mb(asked, windows):,} MiB for all {asked:,} episodes, and a reserve for the trainer)"
        )
    if episodes == asked:
        return job, ""
    needed = need.needed_mb(asked, windows)
    log.warning("retraining-shrunk", episodes=episodes, of=asked, memory_mb=job.memory_mb, needed_mb=needed)
    note = (
        f"smaller than configured: {episodes:,} of {asked:,} episodes{beside}, since {job.memory_mb:,} MiB of memory "
        f"are available and all episodes need {needed:,} MiB"
    )
    return job.model_copy(update={"episodes": episodes}), note


def labelled_windows(folder: Path, spec: str) -> int:
    """Return the number of labelled windows of a spec in the snapshot of the store, which holds those of all specs."""
    if not (folder / FEEDBACK).is_dir():
        return 0
    with LabelledStore(folder / FEEDBACK) as store:
        return sum(part.windows["labelled"] for part in store.summary() if part.spec == spec)
