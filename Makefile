# What a clean clone needs: `make demo` and `make test` build .venv from the hash-pinned lock, once.
VENV := .venv
DOCS := .venv-docs
ORIGINAL := .venv-original
# Interpreters that are tried, first match wins.
PYTHON ?= python3.11 python3
PYTHON37 ?= python3.7 $(wildcard $(HOME)/.pyenv/versions/3.7.*/bin/python)
UV ?= uv
ENGINE ?= docker
COMPILE = "$(UV)" pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check
# Test processes at once, each with one thread of TensorFlow. The packages that are wrapped stay in one of them.
JOBS ?= 2
PYTEST = TIMEFORMAT='%0R seconds, of which the CPU worked %0U + %0S'; time $(VENV)/bin/python -m pytest --numprocesses $(JOBS) --dist loadgroup
# `time` is bash's
SHELL := /bin/bash
# pyright else asks whether there is a newer one
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all paper bench docs facts lint lock original image image-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## CSC of the bundled CIFAR-10 network on 50 bundled images, into runs/demo
	$(VENV)/bin/wel csc --model cifar10 --out runs/demo --limit 50 --seed 0
	@echo "The figures are:"
	@find "$(CURDIR)/runs/demo/figures" -type f | sort

test: $(VENV)/.installed ## run the tests, 8 minutes at most on two cores; options: make test JOBS=4
	$(PYTEST) --hypothesis-profile quick

test-all: $(VENV)/.installed ## the same with more random examples
	$(PYTEST) --hypothesis-profile thorough

paper: $(VENV)/.installed ## all figures and claims of the paper, quickly, as runs/paper/index.html; options: make paper PAPER="--full"
	$(VENV)/bin/python experiments/make_paper.py --out runs/paper $(PAPER)

bench: $(VENV)/.installed ## times beside other software, into runs/bench; options: make bench BENCH="--quick"
	$(VENV)/bin/python experiments/benchmarks/run.py --out runs/bench $(BENCH)

docs: $(DOCS)/.locked ## build the documentation site, site/index.html; without TensorFlow and without a network
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build

facts: $(VENV)/.installed ## write docs/pages/rules.json anew, which the site's tables of rules are made of
	$(VENV)/bin/python docs/pages/rules.py

lint: $(VENV)/.installed ## run ruff, pyright and import-linter
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m pyright
	$(VENV)/bin/lint-imports

lock: ## write the requirement locks anew (needs uv)
	@command -v "$(UV)" >/dev/null || { echo "make lock needs uv: install it with 'pip install uv', or give its path: make lock UV=/path/to/uv" >&2; exit 1; }
	$(COMPILE) docker/requirements-dev.in --output-file docker/requirements-dev.lock
	$(COMPILE) docker/requirements.in --output-file docker/requirements.lock
	$(COMPILE) docker/requirements-docs.in --constraint docker/requirements-dev.lock --output-file docker/requirements-docs.lock
	$(COMPILE) docker/requirements-gpu.in --constraint docker/requirements.lock --output-file docker/requirements-gpu.lock

original: $(ORIGINAL)/.locked ## build .venv-original, the pinned 2020 stack on Python 3.7

image: ## build the container image wel; options: make image BUILD="--build-arg WEIGHTS=resnet50,vgg16"
	$(ENGINE) build --file docker/Dockerfile --target cpu --tag wel $(BUILD) .

image-gpu: ## the same with CUDA, as wel:gpu
	$(ENGINE) build --file docker/Dockerfile --target gpu --tag wel:gpu $(BUILD) .

clean: ## remove environments, builds and caches; runs/ stays
	rm -rf $(VENV) $(DOCS) $(ORIGINAL) site build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call is_python,interpreter,version): succeeds if the interpreter runs and is of that version.
is_python = "$(1)" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(2)")' 2>/dev/null

# $(call make_venv,folder,version,candidates,advice): makes a virtual environment with the first candidate of that version.
define make_venv
@for python in $(3); do \
	if $(call is_python,$$python,$(2)); then \
		echo "Making $(1) with $$python"; \
		"$$python" -m venv "$(1)" >/dev/null && exit 0; \
		rm -f "$(1)/bin/python"; \
		echo "'$$python -m venv $(1)' failed; on Debian and Ubuntu it needs the package python3-venv." >&2; \
		exit 1; \
	fi; \
done; \
echo "Python $(2) is needed and none of these is one: $(3). $(4)" >&2; exit 1
endef

$(VENV)/bin/python:
	$(call make_venv,$(VENV),3.11,$(PYTHON),Install it or name it: PYTHON=/path/to/python3.11)

$(VENV)/.locked: docker/requirements-dev.lock | $(VENV)/bin/python
	@$(call is_python,$(VENV)/bin/python,3.11) || { echo "$(VENV) does not hold Python 3.11; remove it with 'make clean' and try again." >&2; exit 1; }
	@echo "Installing docker/requirements-dev.lock into $(VENV): 2 GB, some minutes"
	$(VENV)/$(PIP_INSTALL) --require-hashes -r docker/requirements-dev.lock
	@touch $@

# Editable: the checkout itself is what runs; installed anew where what is installed is said,
# and where its version stands.
$(VENV)/.installed: $(VENV)/.locked setup.py wel/__init__.py docker/requirements.in docker/requirements-dev.in
	$(VENV)/$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS)/bin/python:
	$(call make_venv,$(DOCS),3.11,$(PYTHON),Install it or name it: PYTHON=/path/to/python3.11)

$(DOCS)/.locked: docker/requirements-docs.lock | $(DOCS)/bin/python
	$(DOCS)/$(PIP_INSTALL) --require-hashes -r docker/requirements-docs.lock
	@touch $@

$(ORIGINAL)/bin/python:
	$(call make_venv,$(ORIGINAL),3.7,$(PYTHON37),Name it (PYTHON37=/path/to/python3.7) or use docker/Dockerfile.original.)

$(ORIGINAL)/.locked: experiments/original/requirements.lock | $(ORIGINAL)/bin/python
	$(ORIGINAL)/$(PIP_INSTALL) --require-hashes -r experiments/original/requirements.lock
	@touch $@
