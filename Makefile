# What a newcomer would guess. Everything is installed below .venv and ${XDG_CACHE_HOME:-~/.cache}/roost-lab; `make clean` takes the first away.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SEEDS ?= 500
RUNS ?= 3
export PYTHONPATH := $(CURDIR)

.PHONY: help docs setup test check unit simulation demo lab lab-bin manifests bench faults proto changelog clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## Python parts into .venv, Debian packages, Go parts into the cache; nothing else needs the network
	@$(PY) -m lab.debian
	@$(PY) -m lab.build
	@$(PY) -m lab.kernel build

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: Python parts into $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup  ## the main job on a real Kubernetes in network namespaces: an address that answers, and moves when its node dies
	@$(PY) -m lab.demo

test: setup check  ## every check and every test
	@SEEDS=$(SEEDS) $(PY) tests/run.py

check: $(READY)  ## format, lint, types, imports
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

unit: $(READY)  ## the tests that need neither root nor the lab; seconds
	@$(PY) tests/run.py unit

simulation: setup  ## the protocol in a simulated cluster, and its models checked exhaustively
	@SEEDS=$(SEEDS) $(PY) tests/run.py simulation

lab: setup  ## a lab with Roost in it, and a shell
	@$(PY) -m lab

lab-bin: setup  ## the directory of the built binaries
	@$(PY) -m lab.build --print

manifests: setup  ## the chart, rendered to build/roost.yaml
	@$(PY) -m lab.manifests

bench: setup  ## the figures, beside keepalived's, and what is budgeted
	@$(PY) -m lab.bench

faults: setup  ## every fault in both modes, RUNS times (3); writes docs/results/faults.md
	@$(PY) -m lab.fault_runs --runs $(RUNS)

docs: $(READY)  ## the reference pages, from the code
	@$(PY) docs/generate.py

proto: $(READY)  ## the descriptors of GoBGP's API, from proto/
	@for v in 3 4; do $(PY) -m grpc_tools.protoc -Iproto --include_imports --descriptor_set_out=nodeagent/bgp/gobgp$$v.binpb proto/gobgp$$v.proto; done

changelog: $(READY)  ## gather the fragments of changelog.d into CHANGELOG.md
	@$(PY) changelog.d/gather.py

clean:  ## take away what setup put into this directory (the cache of Go parts stays)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
