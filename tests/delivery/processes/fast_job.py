"""Child process of a retraining that computes nothing: its candidate is ready immediately and passes the gate.

It leaves the same files in the same order as the real one. It is for tests of the code around a training.
"""

from __future__ import annotations

import os
import sys
import time
import types
from pathlib import Path
from typing import Any

from tests.delivery.processes.quick_job import candidate
from training.sidecar.job import main as job_main
from training.sidecar.job.spec import PAGE, JobSpec, Outcome

PAGE_BYTES = 400_000  # as a report has


def evaluate_candidate(job: JobSpec, folder: Path, model_id: str, champion_id: str | None, on_progress: Any) -> Outcome:
    """Write a page as large as a report and let the candidate pass."""
    on_progress(0.5, "judging")
    time.sleep(float(os.environ.get("FAULTLINE_TEST_JUDGING_S", "0")))
    job_main.put_report(folder, lambda place: (place / PAGE).write_bytes(b"." * PAGE_BYTES))
    return Outcome(model_id=model_id, champion_id=champion_id, passed=True, failed_criteria=[], metrics={})


if __name__ == "__main__":
    train: Any = types.ModuleType("training.sidecar.job.train")  # the real one brings TensorFlow
    train.train_candidate = candidate
    sys.modules[train.__name__] = train
    job_main.evaluate_candidate = evaluate_candidate
    sys.exit(job_main.main(sys.argv[1:]))
