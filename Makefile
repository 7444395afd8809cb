# `make search` shows a search on the embedded data set; ARGS="key=value ..." is appended.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check -c .ci/constraints.txt

# The host looks for updates and installs packages by itself unless it is told not to.
export YOLO_OFFLINE ?= 1
export YOLO_AUTOINSTALL ?= false
# Threads that spin while they wait take the cores from those they wait for where others work too.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := test
.PHONY: install search test test-all test-trackers test-host test-python notebook lint docs release

install: $(VENV)/.installed

# What a search needs and no more. torch comes first, so that its choice of build is not made by a
# dependency of a dependency.
$(VENV)/.search: pyproject.toml .ci/constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch torchvision
	$(PIP) -e .
	touch $@

$(VENV)/.installed: $(VENV)/.search
	$(PIP) -e ".[test]"
	touch $@

search: $(VENV)/.search
	$(VENV)/bin/yolo nas-search $(ARGS)

# Two tests at a time on two cores; a training in a test takes one. Each worker begins with files of
# its own, so that what the tests of a file share is made once.
test: install
	$(VENV)/bin/python -m pytest -n auto --dist worksteal $(ARGS)

# Everything, the slow tests and those on real data included.
test-all: install
	$(VENV)/bin/python -m pytest -m "" $(ARGS)

# The trackers whose clients work offline, for which some forty packages are installed.
test-trackers: install
	$(PIP) mlflow-skinny tensorboard
	$(VENV)/bin/python -m pytest tests/trackers tests/pipeline/test_tracking.py $(ARGS)

# `make test-host VERSION=8.4.191` tests another Ultralytics in build/host-8.4.191, and says what broke.
test-host: install
	$(VENV)/bin/python .ci/test_host.py $(VERSION) $(ARGS)

# `make test-python PYTHON=python3.13` tests another Python in build/python3.13: what does not train
# for long, unless ARGS names other tests.
PYTHON_TESTS := tests/config tests/network tests/space tests/host
test-python:
	$(MAKE) install PYTHON=$(PYTHON) VENV=build/$(notdir $(PYTHON))
	build/$(notdir $(PYTHON))/bin/python -m pytest -n auto $(or $(ARGS),$(PYTHON_TESTS))

# Wheel and sdist in dist/, checked, and the wheel tested in a clean environment.
release: install
	$(PIP) twine
	$(VENV)/bin/python .ci/release.py $(ARGS)

# The notebook of the first guide, by a kernel.
notebook: install
	$(PIP) nbclient ipykernel
	$(VENV)/bin/python -m pytest -m "" tests/docs/test_notebook.py $(ARGS)

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

# The documentation as a site in build/docs; a broken link or an overlong sentence fails.
docs: install
	$(VENV)/bin/python docs/site/sentences.py
	$(PIP) -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict -f docs/site/mkdocs.yml
