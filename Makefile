# Everything a developer does. Set-up happens by itself and is done again when its lock file changes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.installed
RUN_PACKAGES := java=openjdk-17-jre-headless mvn=maven openssl=openssl psql=postgresql
TEST_PACKAGES := chromium=chromium chromedriver=chromium-driver caddy=caddy \
	prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager \
	prometheus-postgres-exporter=prometheus-postgres-exporter prometheus-node-exporter=prometheus-node-exporter

.PHONY: help
help: ## show this
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "  make %-18s%s\n", $$1, $$2 }'

.PHONY: run
run: setup ## start the whole stack on this machine; Ctrl-C stops it (PHONES=0: without simulated phones)
	@exec $(PYTHON) -m ops.local

# What asks a running stack asks the one of `make run`, and where there is none, that of `make up`.
LOCAL = $(wildcard $(or $(DATA_DIR),var)/state.json)
DEPLOYED = $(if $(LOCAL),,$(shell ops/compose ps -q ingest 2>/dev/null))
LOCALLY = $(MAKE) -s $(READY) && exec $(PYTHON) -m ops.local

.PHONY: check
check: ## does it add up? Everything that was read is stored, a duplicate or in quarantine (DO=--full: count all)
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps stream-tool services.stream.check,$(LOCALLY) check) $(DO)

.PHONY: ledger quarantine retention
ledger: ## of each session: expected, received, missing, late messages (DO="report --missing"; -h tells more)
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps stream-tool services.stream.ledger,$(LOCALLY) ledger) $(or $(DO),report)
quarantine: ## what could not be stored, and why: DO=list, DO="show ID", DO="retry --all"; DO=-h tells more
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps stream-tool services.stream.quarantine,$(LOCALLY) quarantine) $(or $(DO),list)
retention: ## how long things are kept, how large they are, how large they will become
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps stream-tool services.stream.retention,$(LOCALLY) retention) $(or $(DO),report)

.PHONY: resume
resume: ## can the stream go on where it was? DO=--accept-loss: go on although Kafka deleted unread records
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps stream-tool services.stream.resume,$(LOCALLY) resume) $(DO)

.PHONY: tokens
tokens: ## who may send: DO=list, DO="add anna", DO="rotate anna", DO="revoke anna"; DO=-h tells more
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps tokens,$(LOCALLY) tokens) $(or $(DO),list)

.PHONY: up
up: ## deploy with Docker: build, make secrets, start, wait until all is healthy (again after any change)
	@ops/compose up -d --build --wait && ops/compose ps --format 'table {{.Service}}\t{{.Status}}'

.PHONY: up-dev
up-dev: export PUBLISH_HTTPS ?= 127.0.0.1:443
up-dev: export PUBLISH_HTTP ?= 127.0.0.1:80
up-dev: ## the same for developers: ports on loopback, simulated phones, source from the checkout
	@COMPOSE_FILE=compose.prod.yml:compose.dev.yml ops/compose up -d --build --wait

.PHONY: down
down: ## stop the deployment; all data stays
	@ops/compose --profile tools down --remove-orphans

.PHONY: logs
logs: ## follow the logs of the deployment; SERVICE=ingest for one
	@ops/compose logs -f --tail 100 $(SERVICE)

.PHONY: status
status: ## of the deployment: health, versions, lag, disks, certificates
	@ops/status

.PHONY: secrets
secrets: ## make what is missing of secrets and certificates (make up does it, too)
	@ops/compose build -q secrets && ops/compose run --rm --no-deps secrets

.PHONY: renew-certs
renew-certs: ## new certificates between the services, and a rolling restart; CERT=ingest for one
	@ops/renew-certs $(or $(CERT),all)

.PHONY: users
users: ## who may look: DO=list, DO="add anna --role operator", DO="password anna"; DO=-h tells more
	@$(if $(DEPLOYED),ops/compose run --rm --no-deps users,$(LOCALLY) users) $(or $(DO),list)

.PHONY: backup
backup: ## of the deployment, into one file in DIR (backups)
	@ops/backup $(or $(DIR),backups)

.PHONY: restore
restore: ## put back a backup: FILE=backups/….tar
	@ops/backup --restore $(FILE)

.PHONY: psql
psql: ## a session with the deployment's PostgreSQL, as its superuser
	@ops/compose run --rm --no-deps backup psql

.PHONY: doctor
doctor: ## what a phone will make of an address: URL=https://…/sensor_data [TOKEN_FILE=…] [CA_FILE=…]
	@python3 -m ops.doctor $(URL) $(if $(TOKEN_FILE),--token-file $(TOKEN_FILE)) $(if $(CA_FILE),--ca-file $(CA_FILE))

.PHONY: test
test: setup test-programs lint ## all set-up, then all tests but those of the deployment
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

.PHONY: test-alerts
test-alerts: setup test-programs ## break Kafka, PostgreSQL and the stream, and wait for the right alerts; half an hour
	@$(PYTHON) -m pytest tests/alerts -m long -s

.PHONY: test-compose test-upgrade
test-compose: $(READY) ## the deployment for real, on a Linux host with Docker, as root; half an hour, and a report in artefacts
	@$(PYTHON) -m pytest tests/compose/test_deployment.py tests/compose/test_development.py -m long -s
test-upgrade: $(READY) ## this version over an earlier one's data, and back: FROM=COMMIT (newest tag, else before the newest migration)
	@UPGRADE_FROM=$(FROM) $(PYTHON) -m pytest tests/compose/test_upgrade.py -m long -s

.PHONY: test-queries
test-queries: setup test-programs ## have PostgreSQL explain each question of the dashboard on ten million rows
	@SENSOR_STREAM_ROWS=10000000 $(PYTHON) -m pytest tests/integration/test_queries_explained.py

.PHONY: fuzz
fuzz: setup ## fuzz the decoder and ingest's HTTP surface, each for FUZZ_SECONDS (600), with other examples each time
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) FUZZ_SEED=$(or $(FUZZ_SEED),$$(date +%s%3N)) $(PYTHON) -m pytest tests/integration/test_fuzz.py

.PHONY: bench-ingest
bench-ingest: setup ## how fast ingest is, beside a plain server (OPTIONS=--quick: a first look in three minutes)
	@$(PYTHON) -m bench.ingest $(OPTIONS)

.PHONY: screenshots
screenshots: setup test-programs ## every page at two widths, light and dark, into docs/screenshots (five minutes)
	@$(PYTHON) -m tests.screenshots $(OPTIONS)

.PHONY: bench-dashboard
bench-dashboard: setup test-programs ## how soon a reading is on the page and what viewers cost, beside a plain Dash page
	@$(PYTHON) -m bench.dashboard $(OPTIONS)

.PHONY: bench-check
bench-check: setup ## how long the check takes on a large database (OPTIONS="--windows 20": million windows)
	@$(PYTHON) -m bench.check $(OPTIONS)

.PHONY: bench-stream
bench-stream: setup ## how fast the stream is, alone and in the whole stack, and how much it keeps up with
	@$(PYTHON) -m bench.stream $(OPTIONS)

.PHONY: docs
docs: $(READY) ## write the pages that are made from the source: docs/metrics.md and Grafana's dashboards
	@$(PYTHON) -m ops.metrics_page && $(PYTHON) -m ops.grafana

.PHONY: lint
lint: $(READY) ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

.PHONY: format
format: $(READY) ## bring all source into its form
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

.PHONY: lock
lock: $(READY) ## lock every dependency again, with hashes
	@ops/lock

.PHONY: audit sbom
audit: $(READY) ## known weaknesses of every locked package (asks the package index)
	@ops/audit
sbom: $(READY) ## what each image is made of, as CycloneDX, into artefacts/sbom
	@ops/audit --sbom artefacts/sbom

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
