# Everything a developer does. Set-up happens by itself and is done again when its lock file changes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.installed
RUN_PACKAGES := java=openjdk-17-jre-headless mvn=maven openssl=openssl psql=postgresql
TEST_PACKAGES := chromium=chromium chromedriver=chromium-driver caddy=caddy

.PHONY: help
help: ## show this
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "  make %-18s%s\n", $$1, $$2 }'

.PHONY: run
run: setup ## start the whole stack on this machine; Ctrl-C stops it (PHONES=0: without simulated phones)
	@exec $(PYTHON) -m ops.local

.PHONY: check
check: $(READY) ## does it add up? Everything that was read is stored, a duplicate or in quarantine
	@exec $(PYTHON) -m ops.local check

.PHONY: resume
resume: $(READY) ## can the stream go on where it was? DO=--accept-loss: go on although Kafka deleted unread records
	@exec $(PYTHON) -m ops.local resume $(DO)

.PHONY: tokens
tokens: $(READY) ## who may send: DO=list, DO="add anna", DO="rotate anna", DO="revoke anna"; DO=-h tells more
	@exec $(PYTHON) -m ops.local tokens $(or $(DO),list)

.PHONY: test
test: setup test-programs lint ## all set-up, then all tests
	@$(PYTHON) -m pytest tests

.PHONY: test-unit
test-unit: $(READY) ## tests without sockets, under half a minute
	@$(PYTHON) -m pytest tests/unit

.PHONY: test-integration
test-integration: setup test-programs ## tests with one real dependency each
	@$(PYTHON) -m pytest tests/integration

.PHONY: test-system
test-system: setup test-programs ## tests of the whole running stack
	@$(PYTHON) -m pytest tests/system

.PHONY: test-faults
test-faults: setup test-programs ## every fault there is, with their bounds; takes long and wants the machine alone
	@$(PYTHON) -m pytest tests/faults -m "long or not long"

.PHONY: bench-stream
bench-stream: setup ## how fast the stream is, alone and in the whole stack, and how much it keeps up with
	@$(PYTHON) -m bench.stream $(OPTIONS)

.PHONY: lint
lint: $(READY) ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

.PHONY: format
format: $(READY) ## bring all source into its form
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

.PHONY: lock
lock: $(READY) ## lock every dependency again, with hashes
	@ops/lock

.PHONY: clean
clean: ## remove all data of the local stack: messages, database, certificates, logs
	@ops/clean

.PHONY: setup
setup: programs $(READY)

.PHONY: programs test-programs
programs:
	@ops/require $(RUN_PACKAGES)
test-programs:
	@ops/require $(TEST_PACKAGES)

$(READY): tests/requirements.lock
	@ops/install-python $(VENV) tests/requirements.lock
	@touch $@
