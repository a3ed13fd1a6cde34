PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := .tools/uv/bin/uv
RUN := .venv/bin
PORT ?= 8080
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help up down setup dev gen fmt lint types protos protos-baseline test test-feast-releases check smoke call load bench bench-peers bench-gpu bench-contracts soak digits clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## Set up and run the mesh with the flights example on 127.0.0.1:8080 (PORT=…)
	@$(RUN)/predmesh up --port $(PORT)
	@$(RUN)/python examples/flights/setup.py

down: ## End the mesh; nothing is left running
	@$(RUN)/predmesh down

setup: $(UV) ## Install what the mesh needs into .venv and .tools (done by up)
	@$(UV) sync --quiet --frozen --inexact --python $(PYTHON) --all-packages --no-dev --group gen --group examples
	@$(RUN)/python protos/generate.py --if-changed
	@$(RUN)/python -m predmesh_inference.install

dev: setup ## Install what tests and checks need as well
	@$(UV) sync --quiet --frozen --python $(PYTHON) --all-packages --all-groups
	@$(PYTHON) deploy/tools.py buf grpcurl ghz vegeta headless-chromium

gen: setup ## Generate the stubs from protos/
	@$(RUN)/python protos/generate.py

fmt: dev ## Format the code
	@$(RUN)/ruff format . && $(RUN)/ruff check --fix .

lint: dev ## Check format, lint and import arrows
	@$(RUN)/ruff format --check . && $(RUN)/ruff check . && $(RUN)/lint-imports

types: dev ## Check types, strictly
	@$(RUN)/mypy

protos: dev ## Lint the contracts and compare them with the last release's
	@$(PYTHON) deploy/tools.py --run buf lint
	@$(RUN)/python protos/baseline.py

protos-baseline: dev ## Promise today's contracts, as part of a release
	@$(RUN)/python protos/baseline.py --write

test: dev ## Run every test that this machine can run
	@$(RUN)/pytest

test-feast-releases: dev ## Compare with every supported release of Feast (docs/features.md)
	@PREDMESH_FEAST_RELEASES=all $(RUN)/pytest --timeout 900 tests/contract/test_feast_releases.py

smoke: ## Run `make up`, predict over REST and gRPC, and `make down`
	@$(PYTHON) deploy/smoke.py

check: lint types protos test smoke ## All that CI runs, fastest first

call: ## Call the running mesh once over REST and once by grpcurl
	@$(PYTHON) deploy/tools.py grpcurl && $(PYTHON) deploy/call.py --port $(PORT)

load: dev ## Measure the running mesh under load (loadtests/)
	@$(RUN)/python -m loadtests.one_row --port $(PORT)

bench: dev ## Measure the whole graph beside echoes on a mesh of its own, 5 minutes (ARGS=…)
	@$(RUN)/python -m loadtests.run $(ARGS)

bench-peers: dev ## Measure what users would serve with instead beside a mesh of its own, 25 minutes (ARGS=…)
	@$(RUN)/python -m loadtests.peers $(ARGS)

bench-gpu: dev ## Measure a PyTorch model on the GPU, or on the CPU where there is none (installs torch, 5 GB; ARGS=…)
	@$(RUN)/python -m loadtests.gpu $(ARGS)

bench-contracts: dev ## Measure typed calls beside others, and 100 changed contracts under load (ARGS=…)
	@$(RUN)/python -m loadtests.contracts $(ARGS)

soak: dev ## Keep a mesh of its own at full load for 10 minutes, then at 70 % for 5 (ARGS=…)
	@$(RUN)/python -m loadtests.soak $(ARGS)

digits: setup ## Train and deploy the digits CNN (installs torch, 5 GB)
	@$(UV) run --project examples/digits python examples/digits/train.py
	@$(RUN)/python -m predmesh_inference.install --extra torch && $(RUN)/predmesh deploy examples/digits/build/bundle

clean: ## Remove what was installed and built, not the mesh's state
	rm -rf .venv .tools libs/contracts/predmesh libs/contracts/descriptors.binpb examples/*/build examples/*/.venv loadtests/peers/*/.venv .*_cache

$(UV):
	@echo "installing uv into .tools/uv"
	@$(PYTHON) -m venv .tools/uv && .tools/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.8
