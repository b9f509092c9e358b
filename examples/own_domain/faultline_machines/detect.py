"""Detect the faults of a simulated machine by a model of your own domain, without a broker.

    pip install -e examples/own_domain
    faultline train --spec machine --out machine.safetensors
    python -m faultline_machines.detect machine.safetensors

It prints two lines per fault, when it begins and when it clears.
"""

from __future__ import annotations

import sys

import numpy as np

import faultline

from .signal import BEARING, IMBALANCE, NORMAL, vibration


def main(model: str) -> None:
    """Print the events of a pump that is out of balance for a second and has a damaged bearing for another."""
    conditions = [NORMAL, IMBALANCE, NORMAL, BEARING, NORMAL]
    with faultline.Engine(faultline.load_artefact(model)) as engine:
        spec = engine.spec
        samples, _ = vibration(conditions, 1.0, spec, np.random.default_rng(5))
        messages = faultline.window_messages("pump-1", samples, spec, rate_hz=spec.rate_hz, start_ns=0)
        # A worker reads these records from Kafka; here they come straight from the samples.
        records = [
            faultline.WindowRecord("pump-1.wav", 0, number, message.end_ns // 1_000_000, b"pump-1", message.value)
            for number, message in enumerate(messages)
        ]
        for event in faultline.Detector(engine, spec).process(records).events:
            at_s = event.detection_ns / 1e9
            print(f"{event.line} {event.state} {event.fault_type} {event.meaning()} at {at_s:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1])
