"""Run Apache Kafka for development: ``python -m benchmarks.kafka --help``."""

from benchmarks.kafka.cli import app
from faultline.cli import run

if __name__ == "__main__":
    run(app)
