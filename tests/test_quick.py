"""`make test-quick` leaves out brokers and training, which conftest.py marks by itself, and tests marked as slow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = {
    "fixtures": """
        import pytest

        @pytest.fixture
        def settings(embedded_broker):
            return embedded_broker

        def test_on_the_embedded_broker(embedded_broker): ...
        def test_on_apache_kafka(kafka): ...
        def test_on_a_kafka_of_its_own(kafka_server): ...
        def test_by_a_fixture_that_asks_for_one(settings): ...
        def test_quick(tmp_path): ...
    """,
    "starts": """
        from stream.kafka.embedded import EmbeddedBroker

        def test_starts_one_itself(): ...
    """,
    "trains": """
        from training.fitting.defaults import DEFAULT_SEED
        from training.window_recipe import WindowRecipe

        def test_trains(): ...
    """,
    "imports_a_module": """
        from training.fitting import checkpoint

        def test_trains_too(): ...
    """,
    "marked": """
        import pytest

        @pytest.mark.slow
        def test_of_many_seconds(): ...

        @pytest.mark.kafka
        def test_in_processes(): ...

        def test_quick_too(): ...
    """,
}


def test_a_test_with_a_broker_or_training_is_left_out_without_a_marker_of_its_own(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        lines = (line.removeprefix(" " * 8) for line in text.splitlines())
        (tmp_path / f"test_{name}.py").write_text("\n".join(lines) + "\n")
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    (expression,) = re.findall(r"^test-quick:.*\n.* -m '([^']+)'", makefile, re.MULTILINE)
    command = ["-m", "pytest", "--collect-only", "-q", "-p", "tests.conftest", "-c", str(REPOSITORY / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, *command, "--rootdir", str(tmp_path), "-m", expression, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert re.findall(r"^test_\w+\.py::(\w+)$", done.stdout, re.MULTILINE) == ["test_quick", "test_quick_too"], done
