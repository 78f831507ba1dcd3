# Every target runs in .venv, which is made with the versions of constraints.txt when it is missing,
# and made again when pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
VENV := .venv
# CONSTRAINTS= installs the newest versions instead.
CONSTRAINTS ?= constraints.txt
INSTALL := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet $(CONSTRAINTS:%=--constraint %)
# With these options of the pinned XLA, which other versions may lack, programs compile in a fifth of the time.
COMPILE := $(CONSTRAINTS:%=XLA_FLAGS="--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
# A file's tests share what is expensive to make, so one worker runs them all.
PYTEST := $(COMPILE) $(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
BENCHMARKS := $(wildcard benchmarks/[a-z]*.py)

.PHONY: help demo test test-all test-lowest test-network lint bench docs docs-serve release

help:
	@echo "make demo      draw a hundred handwritten digits into digits.png, and read one of them"
	@echo "make test      run the tests"
	@echo "make test-all  run the slow ones too: every variant of every family"
	@echo "make test-lowest   run them with the oldest versions that are allowed; make test-network asks the real Hub"
	@echo "make lint      check format, style and types"
	@echo "make bench     measure against PyTorch and print tables"
	@echo "make release   build dist/ and run the wheel alone in a clean environment"
	@echo "make docs      build the site into build/docs/html; make docs-serve shows it on port 8000"

demo: $(VENV)/base
	$(VENV)/bin/zoo list "*_mnist"
	$(VENV)/bin/zoo sample vae_mnist --out digits.png
	@mkdir -p build
	$(VENV)/bin/zoo sample vae_mnist --label 3 --count 1 --out build/three.png
	$(VENV)/bin/zoo predict cnn_mnist build/three.png
	@echo "Now open digits.png. After 'source $(VENV)/bin/activate', zoo and python are those of $(VENV)."

test: $(VENV)/dev
	$(PYTEST)

test-all: $(VENV)/dev
	$(PYTEST) -m "not network"

test-lowest:
	.ci/lowest

test-network: $(VENV)/dev
	$(PYTEST) -m network

release: $(VENV)/dev
	.ci/release $(TAG)

lint: $(VENV)/dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy tests/typed_script.py

bench: $(VENV)/dev
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(VENV)/bin/python $$script; done

# A warning, such as a link that leads nowhere, is an error.
docs: $(VENV)/docs
	$(VENV)/bin/python -m scripts.site build/docs/source
	$(VENV)/bin/sphinx-build -W --keep-going -q build/docs/source build/docs/html

docs-serve: docs
	$(VENV)/bin/python -m http.server 8000 --bind 127.0.0.1 --directory build/docs/html

# What the package and the README's `zoo` lines need to run, without torch.
$(VENV)/base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("flax-zoo needs Python 3.11 or newer, and $(PYTHON) is %d.%d: run make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) hatchling PyYAML
	$(INSTALL) --no-build-isolation --editable '.[text,plot]'
	@touch $@

# The same and what the tests, the checks and the benchmarks need, torch among it.
$(VENV)/dev: $(VENV)/base
	$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/docs: $(VENV)/base
	$(INSTALL) --no-build-isolation --editable '.[docs]'
	@touch $@
