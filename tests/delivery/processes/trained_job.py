"""Child process of a retraining that really trains and whose candidate passes the gate without evaluation."""

from __future__ import annotations

import sys

from tests.delivery.processes import fast_job
from training.sidecar.job import main as job_main

if __name__ == "__main__":
    job_main.evaluate_candidate = fast_job.evaluate_candidate
    sys.exit(job_main.main(sys.argv[1:]))
