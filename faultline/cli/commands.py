"""Register the commands in the order in which a new user needs them."""

from __future__ import annotations

import typer

from faultline.cli import demo, doctor
from faultline.cli.models import keys, label, registry, retrain, trainer
from faultline.cli.streaming import access, broker, dlq, record, replay, subscribe, topics, worker
from faultline.cli.training import compare, folds, report, robustness, train, zero_shot
from faultline.cli.waveforms import classify, inspect, simulate


def register(app: typer.Typer) -> None:
    """Add every command to the app."""
    app.command()(demo.demo)
    app.command()(worker.worker)
    app.command()(subscribe.subscribe)
    app.command()(classify.classify)
    app.command()(inspect.inspect)
    app.command()(record.record)
    app.command()(replay.replay)
    app.command()(simulate.simulate)
    app.command()(train.train)
    app.command()(folds.folds)
    app.command()(robustness.robustness)
    app.command("zero-shot")(zero_shot.zero_shot)
    app.add_typer(report.app, name="report")
    app.command()(compare.compare)
    app.command()(trainer.trainer)
    app.command()(retrain.retrain)
    app.command()(label.label)
    app.add_typer(registry.app, name="models")
    app.add_typer(keys.app, name="keys")
    app.add_typer(topics.app, name="topics")
    app.add_typer(dlq.app, name="dlq")
    app.add_typer(access.app, name="access")
    app.command()(broker.broker)
    app.command()(doctor.doctor)
