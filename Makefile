# make fit           set up, then train on the synthetic vehicles; ARGS="--epochs 5" adds flags
# make experiments   train every file in experiments/ and compare them; what is finished is not
#                    trained again, what was interrupted goes on. ONLY="baseline dropout" chooses
#                    (all but backbone, which needs downloaded weights),
#                    DATA=photos takes other data, LOGS=logs/mine is where to keep all, SIZE=224 is
#                    the image size of files that name none, ARGS="--seeds 3" adds flags
# make test          set up what the tests need, then run them all
# make lint          check format, style and types

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

ONLY ?= $(filter-out backbone,$(patsubst experiments/%.yaml,%,$(wildcard experiments/*.yaml)))
SIZE ?= 64
# Other data and sizes are other runs.
LOGS ?= logs/experiments$(if $(DATA),-$(notdir $(DATA:/=)))$(if $(filter-out 64,$(SIZE)),-$(SIZE))
LADDER := --folds 5 $(if $(DATA),--data-dir $(DATA)) --log-dir $(LOGS)

.PHONY: fit experiments test lint format

fit: $(VENV)/installed
	$(BIN)/python -m vehicle_lightning.fit --dropout 0.5 --batchnorm $(ARGS)

experiments: $(VENV)/installed
	@set -e; for name in $(ONLY); do \
		run=$(LOGS)/$$name/0; \
		if [ -z "$(ARGS)" ] && grep -qs '"status": "finished"' $$run/summary.json; then \
			echo "$$run is finished."; \
		elif [ -f $$run/config.yaml ]; then \
			$(BIN)/python -m vehicle_lightning.fit --resume $$run $(ARGS); \
		else \
			file=experiments/$$name.yaml; size="--image-size $(SIZE)"; \
			if grep -q '^image_size:' $$file; then size=; fi; \
			$(BIN)/python -m vehicle_lightning.fit --config $$file --name $$name $(LADDER) $$size $(ARGS); \
		fi; \
	done
	$(BIN)/python -m vehicle_lightning.compare $(LOGS) --output $(LOGS)

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
