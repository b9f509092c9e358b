"""The child process of a retraining that really trains, and whose candidate passes at once."""

from __future__ import annotations

import sys

from faultline.trainer import attempt
from tests.delivery import swift_attempt

if __name__ == "__main__":
    attempt.judge = swift_attempt.judge
    sys.exit(attempt.main(sys.argv[1:]))
