# Everything lives in .venv, so .venv/bin/faultline is the command. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# A Python that TensorFlow has wheels for: the range is requires-python in pyproject.toml, and is written nowhere else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do $$p -c 'import re, sys, tomllib; \
	low, high = re.findall(r"3\.(\d+)", tomllib.load(open("pyproject.toml", "rb"))["project"]["requires-python"]); \
	sys.exit(not int(low) <= sys.version_info.minor < int(high))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PROCESSES ?= 2
READY := .venv/.ready
DATA ?= classData.csv
# The Python of `make gpu`: the first one that has Keras. It needs neither .venv nor TensorFlow.
GPU_PYTHON ?= $(shell for p in python3 $(BIN)/python; do \
	$$p -c 'import importlib.util as u, sys; sys.exit(u.find_spec("keras") is None)' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test test-quick test-long coverage lint types format docs docs-serve hooks \
	storm swaps loop retraining-storm recording bench bench-training gpu sizing quix fuzz large-records smoke smoke-secure clean

help: ## list these targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ First steps

# Runs again only when the dependencies change: later runs need no network.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python of $$(grep requires-python pyproject.toml) was found; install one or say make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "creating .venv failed: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (TensorFlow is large; the first time takes a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(READY) ## set up .venv

demo: $(READY) ## detect faults on a minute of simulated lines with the real worker, on the embedded broker
	@$(BIN)/faultline demo

##@ While you change code

test-quick: $(READY) ## run the tests that need no broker and no training
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) -m 'not broker and not training and not slow and not long'

# xdist gives each file to one process, in collection order: tests/delivery, which takes longest, comes first.
ALL_TESTS = $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder
test: $(READY) lint types ## run lint, types and all tests (on Apache Kafka where Java and Maven are)
	@$(ALL_TESTS)

coverage: $(READY) ## run all tests with coverage, which slows them down, and print the least covered files
	@$(ALL_TESTS) --cov --cov-report=
	@echo "coverage by this process's own code, the ten least covered files and the total:"
	@$(BIN)/coverage report --sort=cover --skip-empty | sed -n '1,12p;/^TOTAL/p'

test-long: $(READY) ## run the tests that train or swap for minutes, which `make test` leaves out
	@$(BIN)/python -m pytest -m long

lint: $(READY) ## check style, docstrings, formatting and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(READY) ## check types
	@$(BIN)/mypy

format: $(READY) ## repair what ruff can repair
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(READY) ## build the documentation site into build/site, without the network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

docs-serve: $(READY) ## serve the documentation on loopback and rebuild it on every change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

hooks: $(READY) ## let git run lint before every commit
	@$(BIN)/pre-commit install

##@ On Apache Kafka, minutes, with figures

storm: $(READY) ## kill the real worker ten times under load and account for every window
	@$(BIN)/python -m benchmarks.storms.storm

swaps: $(READY) ## swap the model a hundred times under load and compute every answer again
	@$(BIN)/python -m benchmarks.storms.swaps

loop: $(READY) ## retrain for real between worker, trainer and replay and print the gate's decision
	@$(BIN)/python -m benchmarks.storms.loop

retraining-storm: $(READY) ## kill the trainer and its trainings at random under a schedule
	@$(BIN)/python -m benchmarks.storms.retraining_storm

recording: $(READY) ## record 100,000 windows while they flow, replay and compare them; kill a recorder
	@$(BIN)/python -m benchmarks.storms.recording

##@ Benchmarks, on a quiet machine

bench: $(READY) ## compare records/s of our transport with bare aiokafka, on Apache Kafka
	@$(BIN)/python -m benchmarks.throughput.transport

bench-training: $(READY) ## compare seconds of training with plain keras.fit; DATA=path of classData.csv
	@$(BIN)/python -m benchmarks.checks.training --data $(DATA)

gpu: ## test and measure the engine on a GPU, with JAX, PyTorch or TensorFlow; GPU_PYTHON=its Python
	@$(or $(GPU_PYTHON),python3) -m benchmarks.engine.gpu

sizing: $(READY) ## measure unit costs on Apache Kafka and write what follows into docs/sizing.md
	@$(BIN)/python -m benchmarks --only faultline_worker --no-answers --no-latency --out .bench-units.json
	@$(BIN)/python -m benchmarks sizing --unit-costs .bench-units.json --into docs/sizing.md --costs-out docs/unit-costs.json
	@rm .bench-units.json

quix: $(READY) ## install Quix Streams beside .venv, in .quix, for its contender in the benchmark
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .quix \
		-r benchmarks/contenders/quix-requirements.txt

fuzz: $(READY) ## read 10,000 broken COMTRADE and CSV files; print crashes, hangs and peak memory
	@$(BIN)/python -m benchmarks.checks.fuzz_records

large-records: $(READY) ## time and memory of COMTRADE files of 23 to 80 MB, beside the comtrade package
	@$(BIN)/python -m benchmarks.checks.large_records

##@ Containers, with Docker

smoke: ## build the images and try the compose stack: health, faults, replay, retraining, kills, restart
	@$(PYTHON) -m tests.deploy.smoke

smoke-secure: ## the same with TLS, users and signed models (after make smoke)
	@$(PYTHON) -m tests.deploy.secure

##@ Cleaning

clean: ## remove what the targets above made
	rm -rf .venv .kafka .quix build *.egg-info
