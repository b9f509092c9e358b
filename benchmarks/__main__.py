"""Run the benchmarks: ``python -m benchmarks --help``."""

from benchmarks.cli import app
from faultline.cli import run

if __name__ == "__main__":
    run(app)
