"""Child process of a retraining with a candidate that is ready immediately: the shipped model under its own id.

Everything else is as in the real process. It is for tests of the code around a training.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from model.artefact import Artefact, shipped
from model.spec import load_spec
from training.sidecar.job import main as job_main
from training.sidecar.job.spec import JobSpec


def candidate(job: JobSpec, folder: Path, on_progress: Any) -> Artefact:
    """Return the shipped weights with the retraining's id in the manifest."""
    on_progress(0.5, "epoch 1 of 2")
    time.sleep(float(os.environ.get("FAULTLINE_TEST_TRAINING_S", "0")))
    known = shipped(job.spec)
    manifest = known.manifest
    return Artefact.create(
        known.weights,
        spec=load_spec(job.spec),
        architecture=manifest.architecture,
        normalisation=manifest.normalisation,
        temperature=manifest.temperature,
        rejection=manifest.rejection,
        metrics=manifest.metrics,
        provenance={**manifest.provenance, "retraining": job.run_id},
    )


if __name__ == "__main__":
    from training.sidecar.job import train

    train.train_candidate = candidate
    sys.exit(job_main.main(sys.argv[1:]))
