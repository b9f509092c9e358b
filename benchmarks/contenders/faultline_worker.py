"""Faultline: the unchanged command ``faultline worker`` with all its guarantees, configured by the environment."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

from benchmarks.contenders.settings import ContenderSettings, say_ready, settings_of_process
from model.spec import load_spec

POLL_S = 0.02


def fault_topics(output_topic: str) -> list[str]:
    """Return the topics of the events."""
    return [f"{output_topic}.faults.{name}" for name in load_spec("line").fault_types]


def environment(settings: ContenderSettings, web_port: int) -> dict[str, str]:
    """Return the worker's settings; all others keep their defaults."""
    out = settings.output_topic
    variables = {
        "FAULTLINE_BROKER": settings.bootstrap,
        "FAULTLINE_GROUP": settings.group,
        "FAULTLINE_TOPIC_WINDOWS": settings.input_topic,
        "FAULTLINE_TOPIC_WINDOW_CLASSES": out,
        "FAULTLINE_TOPIC_FAULTS_PREFIX": f"{out}.faults.",
        "FAULTLINE_TOPIC_DEAD_LETTERS": f"{out}.dlq",
        "FAULTLINE_TOPIC_LINE_STATES": f"{out}.states",
        "FAULTLINE_TOPIC_MODELS": f"{out}.models",
        "FAULTLINE_WINDOW_CLASSES": "true" if settings.publish == "answers" else "false",
        "FAULTLINE_BATCH_WINDOWS": str(settings.batch_windows),
        "FAULTLINE_BATCH_DEADLINE_MS": str(settings.batch_deadline_ms),
        "FAULTLINE_COMMIT_INTERVAL_S": str(settings.commit_interval_s),
        "FAULTLINE_WEB_PORT": str(web_port),
        "FAULTLINE_LOG_FORMAT": "json",
    }
    if settings.artefact is not None:
        variables["FAULTLINE_MODEL"] = settings.artefact
    if settings.engine_threads is not None:
        variables["FAULTLINE_INFERENCE_THREADS"] = str(settings.engine_threads)
    return variables


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say_when_ready(port: int) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                if json.load(answer)["ready"]:
                    say_ready()
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(POLL_S)


def main() -> None:
    """Run the worker in this process."""
    settings = settings_of_process()
    port = _free_port()
    os.environ |= environment(settings, port)
    threading.Thread(target=_say_when_ready, args=(port,), daemon=True).start()
    # The command sets these, too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stream.settings import load_settings
    from stream.worker.main import run_worker

    sys.exit(run_worker(load_settings()))


if __name__ == "__main__":
    main()
