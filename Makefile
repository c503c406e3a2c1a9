# make demo   train, evaluate and show a navigation agent in houses it has never seen
# make test   run the tests            make lint    ruff and mypy
# make docs   build the site           make bench   print the benchmarks
# make clean  remove .venv and caches
#
# Everything is installed into .venv with the tested versions of configs/constraints.txt; a second
# call reuses it. PYTHON picks the interpreter. TORCH_INDEX picks the PyTorch build: CPU by default,
# e.g. TORCH_INDEX=https://download.pytorch.org/whl/cu130 for an NVIDIA GPU.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_VERSION := 2.13.0
CONSTRAINTS := configs/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := install --no-compile -c $(CONSTRAINTS)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python; do \
	"$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$p" && break; done)

.PHONY: demo test lint docs bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/base.stamp
	@$(BIN)/embodied demo $(ARGS)

test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy examples

# Broken links and docstrings that cannot be read are errors.
docs: $(VENV)/docs.stamp
	@$(BIN)/python docs/reference.py
	@$(BIN)/zensical build --clean --strict >site.log 2>&1 || { cat site.log; exit 1; }
	@! grep "^griffe:" site.log
	@rm site.log && echo "open site/index.html"

bench: $(VENV)/bench.stamp
	@for name in sim maps nav step parity; do $(BIN)/embodied bench $$name $(ARGS) || exit 1; done

# A stamp is written only after its installation succeeded, so an interrupted one starts over.
$(VENV)/base.stamp: setup.py $(CONSTRAINTS)
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(NEW_ENOUGH)'; then \
		echo "error: Python 3.11 or newer is needed and was not found. Install it, or name one:" \
			"make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Installing into $(VENV) (the first time only) ..."
	@"$(PYTHON)" -m venv $(VENV) || { echo "error: '$(PYTHON) -m venv' failed; on Debian or" \
		"Ubuntu install the package python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@# Only torch itself is looked up there; where that address is out of reach, pip's own index serves.
	@$(PIP) --retries 1 $(INSTALL) --no-deps "torch==$(TORCH_VERSION)" --extra-index-url \
		$(TORCH_INDEX) 2>$(VENV)/torch.log || { cat $(VENV)/torch.log >&2; exit 1; }
	@$(PIP) $(INSTALL) -e ".[train]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@$(PIP) $(INSTALL) -e ".[dev,lora,viz,ktx,bullet,franka,feetech,ur,ros2,record,lerobot-export,examples]"
	@# The client that policy servers are written for; it asks for an old numpy and runs on this one.
	@$(PIP) install --no-compile --no-deps openpi-client==0.1.2
	@touch $@

$(VENV)/docs.stamp: $(VENV)/base.stamp
	@$(PIP) $(INSTALL) -e ".[docs]"
	@touch $@

$(VENV)/bench.stamp: $(VENV)/base.stamp
	@$(PIP) $(INSTALL) -e ".[bench]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site site.log docs/api *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
