# The commands of a developer; every one works on a machine with Python 3.11+ and make, nothing else.

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 3
MINUTES ?= 30
ENGINE ?= docker
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' worker/version.py)
REVISION = $(shell git rev-parse HEAD)
DATE = $(shell git log -1 --format=%ct)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long faults faults-long soak check lint types validate docs picture image wheel audit bench lock clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/.run: requirements.lock requirements-build.lock pyproject.toml | .venv/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock -r requirements-build.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: .venv/.run ## run the example on an embedded broker, with real flights
	$(BIN)/worker dev config/flights.yaml --feed flights=handlers/data/flights.jsonl.gz --feed-key flights=tailnum

test: .venv/.dev ## run the tests, real Kafka included (JOBS=3 at a time: many wait for Kafka)
	$(BIN)/pytest -n $(JOBS) -m 'not long'

test-long: .venv/.dev ## run the tests that take minutes
	$(BIN)/pytest -m long --timeout 1800

faults: .venv/.dev ## break three brokers, three workers and the network between them for some minutes
	$(BIN)/python -m tests.faults $(FAULTS)

faults-long: .venv/.dev ## every fault there is, and bugs planted for the judge to find
	$(BIN)/python -m tests.faults --profile long $(FAULTS)
	$(BIN)/pytest -m long --timeout 1800 tests/faults

soak: .venv/.dev ## the same for long at 1000 messages a second, with memory watched (MINUTES=30)
	$(BIN)/python -m tests.faults --soak $(MINUTES) $(FAULTS)

check: lint types validate test faults ## everything that must pass: style, types, specs, tests and faults

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.dev
	$(BIN)/mypy

validate: .venv/.dev
	$(BIN)/worker validate config/*.yaml
	$(BIN)/worker test

docs: .venv/.dev ## write the generated pages anew
	$(BIN)/python -m worker.spec > docs/spec.md
	$(BIN)/python -m worker.observe > docs/metrics.md
	$(BIN)/worker schema > pipeline.schema.json
	$(BIN)/worker schema --tests > tests.schema.json
	$(BIN)/worker monitoring alerts > helm/stream-worker/files/alerts.yaml
	$(BIN)/worker monitoring dashboard > helm/stream-worker/files/dashboard.json
	$(BIN)/python -m tests.helm

picture: .venv/.dev ## take the picture of the page for the docs anew
	$(BIN)/python -m tests.page docs/page.webp

image: ## build the container image stream-worker:VERSION (ENGINE=docker or another with its commands)
	$(ENGINE) build -t stream-worker:$(VERSION) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

wheel: .venv/.run ## build wheel and source distribution of the commit into dist/, the same bytes each time
	rm -rf dist build/commit
	mkdir -p build/commit
	git archive --output build/commit.tar HEAD
	tar -xf build/commit.tar -C build/commit
	cd build/commit && SOURCE_DATE_EPOCH=$(DATE) $(abspath $(BIN))/hatchling build --directory $(CURDIR)/dist
	rm -rf build/commit build/commit.tar

audit: .venv/audit ## look for known weaknesses, which asks a service on the network; the list of what is shipped goes to dist/
	.venv/audit/bin/bandit -q -r worker -c pyproject.toml
	mkdir -p dist
	.venv/audit/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application --output-reproducible -o dist/sbom.cdx.json
	.venv/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r requirements.lock -r requirements-build.lock

.venv/audit: requirements-audit.lock
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements-audit.lock

bench: .venv/.dev ## measure beside the bare client and others (BENCH="throughput --repeats 5")
	$(BIN)/python -m bench $(BENCH)

lock: .venv/.dev ## choose the newest versions of all dependencies
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --upgrade --no-header pyproject.toml --extra otlp -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --upgrade --no-header --group build -o requirements-build.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --upgrade --no-header pyproject.toml --group build --group dev --all-extras -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --upgrade --no-header --group audit -o requirements-audit.lock

clean: ## remove what the commands above have made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
