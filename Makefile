# `make demo` and `make test` each stand alone: they make .venv, install crispsim into it, and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench clean

demo: $(VENV)/.demo
	@echo "ResNet-50 with a DRAM behind the SMEM (--machine edge-lpddr4):"
	$(BIN)/crispsim run --layer-csv sim/layers/resnet50.csv --machine edge-lpddr4
	@echo "The same with every tensor taken to lie in SMEM, an ideal (--machine edge, the default):"
	$(BIN)/crispsim run --layer-csv sim/layers/resnet50.csv

test: $(VENV)/.test .types/crispsim
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/gate.sh

bench: $(VENV)/.demo
	$(BIN)/python -m crispsim.bench.speed

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crispsim needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

# The versions the gate runs with. torchvision without what it asks for: there is no CPU build of it that pip finds by
# itself, and its models and transforms do without its compiled part (prune/models/torchvision_ops.py).
$(VENV)/.test: $(VENV)/bin/python setup.cfg pyproject.toml Makefile
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps torchvision==0.28.0
	touch $@ $(VENV)/.demo

# Pyright and import-linter see the packages as crispsim.* through this link.
.types/crispsim:
	mkdir -p .types && ln -sfn .. .types/crispsim

clean:
	rm -rf $(VENV) .types build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
