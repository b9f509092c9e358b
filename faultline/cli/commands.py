"""Register the commands, in the order of a first visit."""

from __future__ import annotations

import typer

from faultline.cli import (
    access,
    broker,
    classify,
    compare,
    demo,
    dlq,
    doctor,
    folds,
    inspect,
    keys,
    label,
    models,
    record,
    replay,
    report,
    retrain,
    robustness,
    simulate,
    subscribe,
    topics,
    train,
    trainer,
    worker,
)


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
    app.add_typer(report.app, name="report")
    app.command()(compare.compare)
    app.command()(trainer.trainer)
    app.command()(retrain.retrain)
    app.command()(label.label)
    app.add_typer(models.app, name="models")
    app.add_typer(keys.app, name="keys")
    app.add_typer(topics.app, name="topics")
    app.add_typer(dlq.app, name="dlq")
    app.add_typer(access.app, name="access")
    app.command()(broker.broker)
    app.command()(doctor.doctor)
