# make fit    set up, then train on the drawn vehicles; ARGS="--epochs 5" adds flags
# make test   set up what the tests need, then run them all
# make lint   check format, style and types

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.PHONY: fit test lint format

fit: $(VENV)/installed
	$(BIN)/python -m vehicle_lightning.fit --dropout 0.5 --batchnorm $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 2; }
	@echo "Making the virtual environment $(VENV)."
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "Installing PyTorch, Lightning and the rest into $(VENV): some minutes, up to 6 GB."
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/installed
	@echo "Installing what tests and checks need."
	$(BIN)/python -m pip install --editable ".[dev]"
	@touch $@
