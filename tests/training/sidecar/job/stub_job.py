"""Child process of a retraining that trains nothing: it leaves the candidate and the outcome that a test requests.

``FAULTLINE_TEST_CANDIDATE`` is the candidate's path, ``FAULTLINE_TEST_FAILED`` the criterion that is not met, and
``FAULTLINE_TEST_NOTE`` the outcome's note, ``FAULTLINE_TEST_DIE`` how many attempts end by SIGKILL once the candidate
is there.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from model.artefact import Artefact
from model.files import write_text_atomic
from training.sidecar.job.spec import CANDIDATE, CHAMPION, OUTCOME, REPORT, WORK, Outcome

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with (folder.parent / "attempts.txt").open("a") as attempts:
        attempts.write("candidate there\n" if (folder / CANDIDATE).exists() else "from the start\n")
    print('{"progress": 0.5, "stage": "epoch 1 of 2"}', flush=True)
    (folder / WORK).mkdir(exist_ok=True)
    shutil.copy(os.environ["FAULTLINE_TEST_CANDIDATE"], folder / CANDIDATE)
    done = len((folder.parent / "attempts.txt").read_text().splitlines())
    if done <= int(os.environ.get("FAULTLINE_TEST_DIE", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    beside = folder / CHAMPION
    failed = os.environ.get("FAULTLINE_TEST_FAILED")
    (folder / REPORT).mkdir(exist_ok=True)
    outcome = Outcome(
        model_id=Artefact.load(folder / CANDIDATE).model_id,
        champion_id=Artefact.load(beside).model_id if beside.exists() else None,
        passed=failed is None,
        failed_criteria=[] if failed is None else [failed],
        metrics={"holdout_merged_macro_f1": 0.9},
        note=os.environ.get("FAULTLINE_TEST_NOTE", ""),
    )
    write_text_atomic(folder / OUTCOME, outcome.model_dump_json())
