# GNU make. `make` alone lists the targets. Settings: TASK, EPISODES, SEED for the demo; PYTHON and LAWAM_TORCH_INSTALL for the set-up.
SHELL := bash
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup demo test test-long lint build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with everything in it, .venv/bin/lawam included; nothing to do when it is up to date
	@requirements/setup.sh

demo: setup ## three pick-and-place episodes in simulation, videos in out/demo (TASK=... EPISODES=... SEED=...)
	@$(BIN)/lawam demo $(if $(TASK),--task $(TASK)) $(if $(EPISODES),--episodes $(EPISODES)) $(if $(SEED),--seed $(SEED))

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## ruff, mypy and the tests
	$(BIN)/python -m pytest

test-long: setup ## the tests that take longer than `make test` may
	$(BIN)/python -m pytest -m long --timeout 3600

build: setup ## colcon build with the Python of .venv, so that the nodes find torch; then: source install/setup.bash
	$(BIN)/python -m colcon build --packages-select lawam_ros

clean: ## remove what was built, .venv included
	rm -rf build install log out .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
