# Everything lives in .venv, so .venv/bin/faultline is the command. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# A Python that TensorFlow has wheels for.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PROCESSES ?= 2
READY := .venv/.ready

.PHONY: sizing quix test-long help setup demo test lint types loop retraining-storm storm swaps bench recording bench fuzz bench-training clean smoke smoke-secure

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Runs again only when the dependencies change: later runs need no network.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; install one or say make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "creating .venv failed: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (TensorFlow is large; the first time takes a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(READY) ## set up .venv

demo: $(READY) ## a minute of simulated lines through the real worker, on the embedded broker
	@$(BIN)/faultline demo

# A file goes to one process as a whole, in their order: tests/delivery, which takes longest, comes first.
test: $(READY) lint types ## everything: lint, types, tests (with Apache Kafka where Java and Maven are)
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-long: $(READY) ## tests that train or swap for minutes, which `make test` leaves out
	@$(BIN)/python -m pytest -m long

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(READY)
	@$(BIN)/mypy

loop: $(READY) ## worker, trainer and replay on Apache Kafka; a real retraining, the gate's verdict, the account
	@$(BIN)/python -m benchmarks.storms.loop

retraining-storm: $(READY) ## kills of the real trainer and its trainings under a schedule on Apache Kafka, with figures
	@$(BIN)/python -m benchmarks.storms.retraining_storm

storm: $(READY) ## ten SIGKILLs of the real worker under load on Apache Kafka, with figures
	@$(BIN)/python -m benchmarks.storms.storm

swaps: $(READY) ## a hundred swaps of the model under load on Apache Kafka, with figures
	@$(BIN)/python -m benchmarks.storms.swaps

bench: $(READY) ## records/s of our Faust transport over bare aiokafka, on Apache Kafka
	@$(BIN)/python -m benchmarks.throughput.transport

sizing: $(READY) ## measure unit costs on Apache Kafka and put what follows into docs/sizing.md; leave the machine quiet
	@$(BIN)/python -m benchmarks --only faultline_worker --no-answers --no-latency --out .bench-units.json
	@$(BIN)/python -m benchmarks sizing --unit-costs .bench-units.json --into docs/sizing.md --costs-out docs/unit-costs.json
	@rm .bench-units.json

quix: $(READY) ## install Quix Streams beside .venv, in .quix, for its contender in the benchmark
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .quix \
		-r benchmarks/contenders/quix-requirements.txt

fuzz: $(READY) ## read 10,000 broken COMTRADE and CSV files; prints crashes, hangs and peak memory
	@$(BIN)/python -m benchmarks.checks.fuzz_records

recording: $(READY) ## record 100,000 windows from Apache Kafka while they flow, replay them, compare; kill a recorder
	@$(BIN)/python -m benchmarks.storms.recording

smoke: ## build the images and try the compose stack on Docker: health, faults, replay, retraining, kills, restart
	@$(PYTHON) -m tests.deploy.smoke

smoke-secure: ## the same with TLS, users and signed models: what is refused and what is not (after make smoke)
	@$(PYTHON) -m tests.deploy.secure

DATA ?= classData.csv

bench-training: $(READY) ## seconds of training against plain keras.fit, DATA=path of classData.csv
	@$(BIN)/python -m benchmarks.checks.training --data $(DATA)

clean: ## remove what the targets above made
	rm -rf .venv .kafka build *.egg-info
