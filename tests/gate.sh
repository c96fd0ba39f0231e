#!/usr/bin/env bash
# The whole gate, the same by hand (`make test`) and in CI: lint, types, import rules, tests.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "ruff: lint"
ruff check .
step "ruff: format"
ruff format --check .
step "pyright"
pyright
step "import rules"
lint-imports
step "tests, kernels compiled"
python -m pytest -q -n 2 -m "not slow"
step "kernels again as plain Python"
NUMBA_DISABLE_JIT=1 HYPOTHESIS_PROFILE=plain python -m pytest -q -n 2 -m "kernel and not slow"
step "kernels again with bounds checks"
NUMBA_BOUNDSCHECK=1 HYPOTHESIS_PROFILE=plain python -m pytest -q -n 2 -m "kernel and not slow"
