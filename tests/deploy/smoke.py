"""Start the compose stack under a name of its own, try everything that a user would, and print the results.

    python3 -m tests.deploy.smoke                   builds, starts, tries, takes down
    python3 -m tests.deploy.smoke --no-build        with the images there are
    python3 -m tests.deploy.smoke --only start      one part: start, faults, replay, retrain, restarts, state
    python3 -m tests.deploy.smoke --keep            leaves the stack running

It needs Docker with its Compose plugin, 2.24 or later, and a Python, nothing else. The stack is called
faultline-smoke, publishes free ports of loopback and has volumes of its own, which are removed at the end. A stack
that already runs is not affected.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy.stack import HEALTHY_S, IMAGE, WORKER_IMAGE, SmokeError, Stack, require_compose, wait_until

LEDGER = Path(__file__).with_name("ledger.py")
LOOPBACK = ("127.0.0.1", "::1")
EVENT_S = 60
RETRAIN_S = 900
CAUGHT_UP_S = 180.0
PARTS = ("start", "faults", "replay", "retrain", "restarts", "state")


def say(text: str) -> None:
    """Print one line of results, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


# Parts ----------------------------------------------------------------------------------------------------------------


def start(stack: Stack) -> None:
    """Check health, that no process runs as root, that file systems are read-only, and that ports are on loopback."""
    advice(stack)
    begin = time.monotonic()
    stack.run("up", "-d", "--no-build", timeout_s=HEALTHY_S + 300)
    stack.wait_healthy()
    say(f"all healthy after {time.monotonic() - begin:.0f} s: {stack.states()}")
    for one in stack.containers():
        name, host, settings = one["Name"], one["HostConfig"], one["Config"]
        if not host["ReadonlyRootfs"] or host["CapDrop"] != ["ALL"] or host["Privileged"]:
            raise SmokeError(f"{name} is not locked down: {host['ReadonlyRootfs']} {host['CapDrop']}")
        if settings["User"] in ("", "0", "root", "0:0"):
            raise SmokeError(f"{name} runs as root")
        for ports in (host["PortBindings"] or {}).values():
            if any(port["HostIp"] not in LOOPBACK for port in ports):
                raise SmokeError(f"{name} listens beyond loopback: {ports}")
        say(f"{str(name)[1:]}: user {settings['User']}, read-only root, ports {host['PortBindings'] or 'none'}")


def advice(stack: Stack) -> None:
    """Check that, with the stack down, the command line advises how to start it from a container."""
    done = stack.attempt("run", "--rm", "-T", "cli", "topics", "check")
    last = done.stderr.strip().splitlines()[-1]
    if done.returncode == 0 or "docker compose up -d" not in last or "faultline broker" in last:
        raise SmokeError(f"no advice that fits a container: {done.stdout}{done.stderr}")
    say(f"with the stack down: {last}")


def faults(stack: Stack) -> None:
    """Check that fault events arrive within a minute of health."""
    begin = time.monotonic()
    found = stack.faultline("subscribe", "--json", "--limit", "3", "--timeout", str(EVENT_S), timeout_s=EVENT_S + 60)
    for line in found.splitlines():
        event = json.loads(line)
        say(f"event: {event['line']} {event['state']} {event['fault_class']}, sure {event['confidence']:.2f}")
    say(f"three events within {time.monotonic() - begin:.0f} s")
    unlabelled(stack, str(event["event_id"]))


def unlabelled(stack: Stack, event_id: str) -> None:
    """Check that the demo's windows are not stored as production data, and that its events cannot be labelled."""
    done = stack.attempt("run", "--rm", "-T", "cli", "label", event_id, "none")
    if done.returncode == 0 or "simulated windows" not in done.stderr or done.stderr.lstrip().startswith("{"):
        raise SmokeError(f"a label on an event of the demo: {done.stdout}{done.stderr}")

    def left_out() -> bool:
        return stack.metrics("trainer", 8067).get("faultline_trainer_simulated_windows_total", 0) > 0

    wait_until(left_out, CAUGHT_UP_S, "the trainer to read the demo's windows")
    kept = stack.metrics("trainer", 8067)['faultline_store_windows{labelled="true"}']
    if kept:
        raise SmokeError(f"{kept:.0f} windows of the demo are stored as labelled")
    say(f"the demo's windows are not stored, and: {done.stderr.strip().splitlines()[-1]}")


def replay(stack: Stack) -> None:
    """Check that a record from the host's folder is replayed and confirmed."""
    records = Path(stack.environment["RECORDS"])
    made = stack.run("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "cli", "-c", RECORD_TO_STDOUT)
    (records / "record.parquet").write_bytes(base64.b64decode(made))
    os.chmod(records / "record.parquet", 0o644)
    said = stack.run("run", "--rm", "-T", "cli", "replay", "/records/record.parquet", "--restamp", "--pace", "max")
    say(f"replay of a record of the host's folder: {said.strip().splitlines()[-1]}")
    plot(stack, records)


def plot(stack: Stack, records: Path) -> None:
    """Check that a plot appears in the host's folder and belongs to the user whose ids were given."""
    (records / "fault.csv").write_text(fault_table(), encoding="utf-8")
    os.chmod(records / "fault.csv", 0o644)
    stack.run("run", "--rm", "-T", "cli", "classify", "/records/fault.csv", "--plot", "/records/plots")
    plots = sorted((records / "plots").iterdir())
    owner = int(stack.environment["RECORDS_USER"].partition(":")[0])
    if not plots or any(one.stat().st_uid != owner for one in plots):
        raise SmokeError(f"no plots of user {owner}: {plots}")
    say(f"plotted on the host: {', '.join(one.name for one in plots)}")


def fault_table() -> str:
    """Return one second of a line with a phase-A-to-ground fault, in amperes and volts at 1,600 samples per second."""
    rows = ["time,ia,ib,ic,va,vb,vc"]
    for n in range(1600):
        angles = [2 * math.pi * (n / 32 - phase / 3) for phase in range(3)]
        currents = [400 * math.cos(angle - 0.3) for angle in angles]
        voltages = [100_000 * math.cos(angle) for angle in angles]
        if 640 <= n < 960:
            currents[0], voltages[0] = 4000 * math.cos(angles[0] - 1.2), 0.3 * voltages[0]
        rows.append(",".join(f"{value:.6g}" for value in (n / 1600, *currents, *voltages)))
    return "\n".join(rows) + "\n"


RECORD_TO_STDOUT = (
    "faultline simulate --lines 2 --seconds 4 --seed 11 --out /tmp/record.parquet >&2 && base64 /tmp/record.parquet"
)


def retrain(stack: Stack) -> None:
    """Check that a retraining ends with a verdict, and that the worker uses a promoted model without a restart."""
    before, begin = stack.model(), time.monotonic()
    said = stack.run(
        *("exec", "-T", "worker", "faultline", "retrain", "--wait", "--timeout", str(RETRAIN_S)),
        *("--epochs", "1", "--episodes", "400", "--reason", "smoke test"),
        timeout_s=RETRAIN_S + 60,
        check=False,
    )
    if not said.startswith(("promoted", "refused")):
        raise SmokeError(f"no verdict: {said}")
    say(f"verdict after {time.monotonic() - begin:.0f} s: {said.splitlines()[0]}")
    if said.startswith("refused"):
        raise SmokeError(f"the gate of tests/deploy/smoke.env should let it through:\n{said}")
    wait_until(lambda: stack.model() != before, 60, "the worker's model to change")
    say(f"worker changed from {before} to {stack.model()}; topic:")
    for line in stack.faultline("models", "list").splitlines():
        say(f"  {line}")


def restarts(stack: Stack) -> None:
    """Kill every container's process in turn while the demo runs; Docker restarts it, and the stack recovers."""
    for service in ("worker", "trainer", "broker", "demo"):
        begin = time.monotonic()
        stack.crash(service)
        stack.wait_healthy()
        say(f"{service} killed; restarted by itself and all healthy {time.monotonic() - begin:.0f} s later")
        faults(stack)
    account(stack)


def account(stack: Stack) -> None:
    """Check that, with the demo stopped, every record of sensor-windows is answered or a dead letter."""
    stack.run("stop", "-t", "20", "demo", timeout_s=60)
    wait_until(lambda: stack.metrics().get("faultline_lag_records", 1) == 0, CAUGHT_UP_S, "the worker to catch up")
    said = stack.run("exec", "-T", "worker", "python3", "-c", LEDGER.read_text("utf-8"), timeout_s=600)
    ledger = json.loads(said)
    say(f"ledger: {ledger}")
    if ledger["lost"] or not ledger["windows"]:
        raise SmokeError(f"windows without an answer: {ledger}")
    stack.run("start", "demo")


def state(stack: Stack) -> None:
    """Check that topics, model and states of lines survive down and up."""
    stack.run("stop", "-t", "30", "demo", timeout_s=60)
    wait_until(lambda: stack.metrics().get("faultline_lag_records", 1) == 0, CAUGHT_UP_S, "the worker to catch up")
    before = (stack.model(), ends(stack))
    stack.run("down", timeout_s=180)
    stack.run("up", "-d", "--no-build", timeout_s=HEALTHY_S + 300)
    stack.wait_healthy()
    after = (stack.model(), ends(stack))
    if after[0] != before[0] or any(after[1].get(topic, 0) < count for topic, count in before[1].items()):
        raise SmokeError(f"state was lost: {before} before, {after} after")
    kept = {topic: before[1][topic] for topic in ("sensor-windows", "line-states", "models")}
    say(f"down and up again: model {after[0]}, records kept {kept}")
    faults(stack)


def ends(stack: Stack) -> dict[str, int]:
    """Return the number of records ever written, by topic."""
    counted: dict[str, int] = json.loads(stack.run("exec", "-T", "worker", "python3", "-c", ENDS))
    return counted


ENDS = """
import json, os
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": os.environ["FAULTLINE_BROKER"], "group.id": "smoke"})
topics = consumer.list_topics(timeout=10).topics
print(json.dumps({
    name: sum(consumer.get_watermark_offsets(TopicPartition(name, p), timeout=10)[1] for p in topic.partitions)
    for name, topic in topics.items() if not name.startswith("__")
}))
"""


def build(stack: Stack) -> None:
    """Build the images and print their sizes."""
    begin = time.monotonic()
    stack.run("build", "worker", "trainer", timeout_s=3600)
    say(f"images built in {time.monotonic() - begin:.0f} s")
    for image in (WORKER_IMAGE, IMAGE):
        size = subprocess.run(
            ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True, check=True
        )
        say(f"{image}: {int(size.stdout) / 1e9:.2f} GB; the largest parts in MB:")
        # The size counts only Faultline's own layers; the rest is Debian and Python.
        largest = "cd /opt/faultline/lib/python3.*/site-packages && du -sm * | sort -rn | head -n 8"
        command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", largest]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        say("  " + ", ".join(" ".join(reversed(line.split())) for line in shown.stdout.splitlines()))


def main() -> int:
    """Run the smoke test and return exit status 0 if everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultline-smoke-") as records:
        os.chmod(records, 0o755 if os.getuid() else 0o777)
        return run(Stack(("demo",), (), Path(records)), options)


def run(stack: Stack, options: argparse.Namespace) -> int:
    """Run the selected parts."""
    begin = time.monotonic()
    try:
        require_compose()
        if not options.no_build:
            build(stack)
        for part in PARTS:
            if options.only is None or part in options.only:
                globals()[part](stack)
    except (SmokeError, subprocess.SubprocessError) as error:
        print(f"smoke test failed: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            stack.run("down", "--volumes", timeout_s=180, check=False)
    say(f"smoke test passed in {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
