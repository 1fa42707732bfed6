# `make demo` and `make test` are all that a newcomer needs. Every target makes .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-long test-avx512 test-lm-eval test-reference bench gpu-check lint types format clean

help:
	@echo "make demo       install, run the main job on the bundled model, say where the report is"
	@echo "make test       install with test tools; lint, types, tests"
	@echo "make test-long  the tests that fetch SmolLM2-135M, too"
	@echo "make test-avx512  the CPU kernels for AVX-512 on a processor with AVX2 (apt-get install libsimde-dev)"
	@echo "make test-lm-eval  task scores through lm-eval, which it installs"
	@echo "make test-reference  what is read, written and quantised, against gptqmodel, auto-round, torchao, …"
	@echo "make bench      benchmarks (pytest-benchmark)"
	@echo "make gpu-check  on an NVIDIA GPU: correctness, kernels, Llama-3-8B shapes; OUT=folder"
	@echo "make format     rewrite the code as ruff formats it"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmbench needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), some minutes the first time"
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/llmbench run --engine paged --quant awq --out runs/demo

# A process a core: each test file runs whole in one of them.
# In the order of their names: the many quick tests of workloads/ come last, and fill what is left of the
# time. Files of most tests first had left one process with the slow ones of few.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: lint types
	$(PYTEST)

test-long: $(VENV)/.installed-test
	$(PYTEST) -m "smollm2 or not smollm2"

# How a build fails is tested without it: an emulated library is there already.
test-avx512: $(VENV)/.installed-test
	$(PYTEST) -p tests.kernels.emulated_avx512 tests/kernels --ignore tests/kernels/test_native_build.py

$(VENV)/.installed-lm-eval: $(VENV)/.installed-test tests/constraints-lm-eval.txt
	$(PIP) install --quiet --constraint constraints.txt --constraint tests/constraints-lm-eval.txt \
		--editable '.[lm-eval]'
	@touch $@

test-lm-eval: $(VENV)/.installed-lm-eval
	$(BIN)/python -m pytest -m lm_eval -p tests.none_skipped tests/harness/tasks tests/harness/cli

# Libraries that want another numpy than constraints.txt has stand in an environment of their own. Its
# constraints are those of constraints.txt that tests/constraints-reference.txt has not.
REFERENCE := .venv-reference

$(REFERENCE)/.installed: pyproject.toml constraints.txt tests/constraints-reference.txt
	@test -x $(REFERENCE)/bin/python || $(PYTHON) -m venv $(REFERENCE)
	@awk -F '==' 'NR == FNR { own[$$1] } NR == FNR || !($$1 in own)' tests/constraints-reference.txt constraints.txt > $(REFERENCE)/constraints.txt
	@echo "installing into $(REFERENCE), some minutes the first time"
	$(REFERENCE)/bin/python -m pip --disable-pip-version-check install --quiet \
		--constraint $(REFERENCE)/constraints.txt --editable '.[test,test-reference]'
	@touch $@

# One process: each library has threads of its own.
test-reference: $(REFERENCE)/.installed
	$(REFERENCE)/bin/python -m pytest -p tests.reference_only

bench: $(VENV)/.installed-test
	OMP_NUM_THREADS=$$(nproc) $(BIN)/python -m pytest tests/benchmarks -s --benchmark-only --benchmark-columns=min,median,rounds

# GPU_PYTHON: an interpreter that has all that is needed; nothing is installed then.
gpu-check: $(if $(GPU_PYTHON),,$(VENV)/.installed-test)
	$(or $(GPU_PYTHON),$(BIN)/python) -m tests.gpu.check --out $(or $(OUT),build/gpu-check)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# An editable install's import hook is invisible to a type checker; a link is not. The whole tree takes
# more than the 4 GiB that node allows itself.
types: $(VENV)/.installed-test
	@mkdir -p build/types && ln -sfn ../.. build/types/llmbench
	NODE_OPTIONS=--max-old-space-size=8192 $(BIN)/basedpyright

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(REFERENCE) build dist *.egg-info
