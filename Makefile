# The front door: every verb that a person or CI needs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input --quiet
SEED ?= 0
ARGS ?=
CXX_SOURCES = $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow learning lint format stubs docs bench sanitize asan tsan clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

BUILT_FROM = $(BIN)/python pyproject.toml constraints.txt CMakeLists.txt $(shell find csrc -type f)

# torch comes first and alone: the pinned build is the one that every later range accepts.
$(VENV)/.runtime: $(BUILT_FROM)
	$(call installed,atari$(,)tensorboard$(,)video)
	@touch $@

# Not on top of .runtime: the core would be compiled twice.
$(VENV)/.dev: $(BUILT_FROM)
	$(call installed,dev)
	@touch $(VENV)/.runtime $@

, := ,
define installed
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e ".[$(1)]"
endef

quickstart: $(VENV)/.runtime ## set up, train on the real game, evaluate, report (about 15 minutes)
	$(BIN)/mbpo-fast train --config quickstart --seed $(SEED) $(ARGS)

test: $(VENV)/.dev ## the fast tests
	$(BIN)/pytest -m "not slow and not learning"

test-slow: $(VENV)/.dev ## the long tests
	$(BIN)/pytest -m "slow and not learning"

learning: $(VENV)/.dev ## train agents on Catch until they have learned
	$(BIN)/pytest -m learning

lint: $(VENV)/.dev ## formats, types, layers, stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)
	$(call write_stubs,build/stubs)
	diff build/stubs/mbpo_fast/_core.pyi mbpo_fast/_core.pyi

format: $(VENV)/.dev ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

stubs: $(VENV)/.dev ## write the type stubs of the extension anew
	$(call write_stubs,.)

# Generated into $(1)/mbpo_fast/_core.pyi, in the house format.
define write_stubs
	$(BIN)/pybind11-stubgen mbpo_fast._core --output-dir $(1)
	$(BIN)/ruff check --quiet --fix --config pyproject.toml $(1)/mbpo_fast/_core.pyi
	$(BIN)/ruff format --quiet --config pyproject.toml $(1)/mbpo_fast/_core.pyi
endef

docs: $(VENV)/.runtime ## build the documentation into build/site
	$(PIP) install -c constraints.txt -e ".[docs]"
	$(BIN)/python tools/docs_pages.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/.dev ## measure beside the peers
	$(PIP) install -c constraints.txt -e ".[bench]"
	$(BIN)/mbpo-fast bench

sanitize: asan tsan ## the core's tests under ASan + UBSan, then under TSan

asan: ## the core's tests under the address and undefined-behaviour sanitizers
	$(call sanitized,asan,address$(,)undefined)
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so.6)" \
	  ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc .venv-asan/bin/pytest $(SANITIZED_TESTS)

tsan: ## the core's tests with threads under the thread sanitizer
	$(call sanitized,tsan,thread)
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" .venv-tsan/bin/pytest $(SANITIZED_TESTS) -k thread

# nvcc crashes under a sanitizer's preloaded library, and its own test runs no code of ours.
SANITIZED_TESTS = tests/ops tests/data --ignore=tests/ops/test_gpu_build.py

# A virtual environment of its own with an instrumented core, the GPU kernels' emulation in it; its tests need
# no torch.
define sanitized
	$(PYTHON) -m venv .venv-$(1)
	.venv-$(1)/bin/pip install -q -c constraints.txt numpy pytest pytest-benchmark hypothesis \
	  opencv-python-headless gymnasium pydantic safetensors ale-py
	.venv-$(1)/bin/pip install -q --no-deps -e . -C build-dir=build/$(1) \
	  -C cmake.build-type=RelWithDebInfo -C cmake.define.MBPO_FAST_SANITIZE="$(2)" \
	  -C cmake.define.MBPO_FAST_EMULATED_CUDA=ON -C cmake.define.MBPO_FAST_CUDA=OFF
endef

clean: ## remove what was built
	rm -rf $(VENV) .venv-asan .venv-tsan build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
