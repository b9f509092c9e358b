"""Record a stream of windows from Apache Kafka, replay it into a new topic, and compare record by record.

    python -m benchmarks.storms.recording --windows 100000

A second recorder is killed (SIGKILL) while windows arrive, and its file is read. The last line is JSON. The exit status
is 0 only if both topics hold the same keys, values, headers, times and order, and no record is missing between the
records of the killed recording.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.kafka.server import KafkaServer
from stream.recordings.recording import open_recording
from tests.delivery.processes.recorded import (
    differences,
    produce,
    rows_by_key,
    run,
    start_recording,
    windows_flow,
)

PARTITIONS = 4


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def recorded_and_replayed(bootstrap: str, source: str, copy: str, path: Path, windows: int) -> dict[str, Any]:
    """Record ``windows`` windows while they are sent to ``source``, replay them into ``copy``, and compare both."""
    count = sum(1 for _ in windows_flow(windows))
    recorder = start_recording(bootstrap, source, path, "--count", str(count))
    began_s = time.monotonic()
    produce(bootstrap, source, windows_flow(windows), over_s=windows / 20_000, of=count)
    out, err = recorder.communicate(timeout=120)
    assert recorder.returncode == 0, err
    recorded, recorded_s = json.loads(out), time.monotonic() - began_s
    say(f"recorded {recorded['records']:,} records with {recorded['windows']:,} windows in {recorded_s:.1f} s")
    replayed = json.loads(run("replay", str(path), "--topic", copy, "--pace", "max", "--broker", bootstrap, "--json"))
    say(f"replayed {replayed['confirmed_windows']:,} windows in {replayed['seconds']:.1f} s")
    found = differences(rows_by_key(bootstrap, source), rows_by_key(bootstrap, copy))
    return {
        "windows": recorded["windows"],
        "records": recorded["records"],
        "file_bytes": recorded["file_bytes"],
        "replayed_windows_per_s": round(replayed["confirmed_windows"] / replayed["seconds"]),
        "differences": len(found),
        "first_differences": found[:3],
    }


def killed(bootstrap: str, topic: str, path: Path, windows: int) -> dict[str, Any]:
    """Kill a recorder while windows arrive; its file must hold the beginning of every partition without a gap."""
    count = sum(1 for _ in windows_flow(windows))
    recorder = start_recording(bootstrap, topic, path, "--flush-seconds", "0.5")

    def flow() -> Any:
        for number, record in enumerate(windows_flow(windows)):
            if number == count * 2 // 3:
                recorder.kill()
            yield record

    produce(bootstrap, topic, flow(), over_s=max(3.0, windows / 10_000), of=count)
    recorder.wait()
    recording = open_recording(path)
    offsets: dict[int, list[int]] = defaultdict(list)
    for message in recording.messages():
        offsets[message.partition].append(message.offset)
    whole = all(found == list(range(len(found))) for found in offsets.values())
    return {"kept": recording.count, "of": count, "complete": recording.complete, "without_a_hole": whole}


def main() -> int:
    """Run the stress test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=100_000, help="number of windows to record")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder) / "kafka") as server:
        names = ("windows", "copy", "killed")
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
            made.result(20)
        path = Path(folder) / "recording.parquet"
        result = recorded_and_replayed(server.bootstrap, "windows", "copy", path, options.windows)
        result["killed"] = killed(server.bootstrap, "killed", Path(folder) / "killed.parquet", options.windows // 2)
    say(f"killed recorder: {result['killed']['kept']:,} of {result['killed']['of']:,} records are in its file")
    print(json.dumps(result))
    fine = not result["differences"] and result["killed"]["without_a_hole"] and result["killed"]["kept"]
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
