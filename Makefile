# Needs only make and Python 3.11 or newer; each target installs what else it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PARALLEL = --numprocesses=auto --maxprocesses=4 --dist=loadgroup
INTERPRETERS = python3.11 python3.12 python3.13 # those of the matrix in setup.cfg

.DEFAULT_GOAL := help
.PHONY: help environments demo test matrix databases check audit docs schema conformance wheel acceptance brokers browser benchmark

help:
	@echo "make demo   run the example project: sandbox, sync, worker, beat and admin"
	@echo "            (CHECK=1: check that everything works, then stop)"
	@echo "make test   run the tests with branch coverage, on SQLite"
	@echo "make matrix run the tests on the built wheel, with each Python and Django of setup.cfg whose Python is installed"
	@echo "make databases  run the tests on the built wheel with PostgreSQL and MariaDB, at the addresses in POSTGRESQL_URL"
	@echo "                and MYSQL_URL, with Python 3.13 and 3.12 and the newest versions of Django for them"
	@echo "make check  check format (to fix it: '.venv/bin/ruff format .'), lint, types, Django's system checks, missing"
	@echo "            migrations, import layers, and the documentation's tables (to update them:"
	@echo "            '.venv/bin/python docs/tables.py')"
	@echo "make docs   build the documentation into docs/_build, with warnings as errors, and run the code in it"
	@echo "make audit  look for known vulnerabilities in the newest versions of the app's dependencies"
	@echo "            (ORQ_AUDIT=required: fail instead of warn if no advisory service can be reached)"
	@echo "make schema test the REST views against their OpenAPI schema, with schemathesis"
	@echo "make conformance  test the sandbox with the vendor's own SDKs as clients"
	@echo "make wheel  build sdist and wheel into dist/"
	@echo "make acceptance   test the built wheel in an empty project, with data created by the vendor's SDK"
	@echo "make brokers      test workers that are killed, suspended or lose their broker, on Redis and RabbitMQ with PostgreSQL"
	@echo "make browser      test the example project's admin in a real browser (Chromium), with screenshots"
	@echo "make benchmark    compare full syncs with loops that do the same work, on the database that DATABASE_URL names;"
	@echo "                  on PostgreSQL, also measure the admin and REST lists of 1,000,000 conversations (SMALL=1: only"
	@echo "                  what is needed to check requests, rows, statements and memory; ARGS=--help lists the options)"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required. Choose one, for example: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# With exec, Ctrl-C and make's own SIGTERM reach the demo itself, which stops all processes that it started.
demo: $(VENV)/.installed-demo
	@exec $(BIN)/python -m example_project.demo $(if $(CHECK),--check)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not documentation and not volume" --cov --cov-report=term-missing:skip-covered $(ARGS)

check: export ORQ_API_KEY ?= dummy-key
check: $(VENV)/.installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/lint-imports
	$(BIN)/python docs/tables.py --check

.venv-docs/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# Built from scratch each time, so that warnings about unchanged pages are shown too.
docs: .venv-docs/.installed $(VENV)/.installed-test
	.venv-docs/bin/sphinx-build -W --keep-going -n -q -E -a docs docs/_build $(ARGS)
	$(BIN)/python -m pytest $(PARALLEL) tests/test_documentation.py

.venv-audit/.installed:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	@touch $@

# If a service is unreachable, or does not know one of the versions, nothing has been audited.
audit: .venv-audit/.installed
	@sed -n '/^install_requires =/,/^$$/s/^    //p' setup.cfg > .venv-audit/requirements.txt
	@for service in pypi osv; do \
	    output=$$(.venv-audit/bin/pip-audit --progress-spinner=off --vulnerability-service=$$service --requirement=.venv-audit/requirements.txt $(ARGS) 2>&1) \
	        && succeeded=yes || succeeded=; \
	    case $$output in \
	        *"Found "*" known vulnerabilit"*) echo "$$output"; exit 1 ;; \
	        *"could not be audited"*) ;; \
	        *) if [ "$$succeeded" ]; then echo "$$output"; exit; fi ;; \
	    esac; \
	    echo "$$service: $$(echo "$$output" | tail -1 | cut -c -200)"; \
	done; \
	echo "WARNING: NOT AUDITED: no advisory service could check all packages. Set ORQ_AUDIT=required to make this a failure."; \
	[ "$$ORQ_AUDIT" != required ]

# A separate environment, since schemathesis would add its pytest plugin to all other tests.
.venv-schema/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-schema
	.venv-schema/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[schema]'
	@touch $@

schema: .venv-schema/.installed
	.venv-schema/bin/python -m tests.openapi $(ARGS)

# Separate environments, since the SDKs pin old versions of requests.
.venv-sdk-%/.installed:
	$(PYTHON) -m venv .venv-sdk-$*
	.venv-sdk-$*/bin/python -m pip install --quiet --disable-pip-version-check orq-ai-sdk==$*
	@touch $@

SDKS = .venv-sdk-4.1.0rc29/.installed .venv-sdk-4.3.20/.installed

conformance: $(VENV)/.installed-test $(SDKS)
	ORQ_SDK_PYTHON='.venv-sdk-{}/bin/python' $(BIN)/python -m pytest tests/conformance $(ARGS)

.venv-build/.installed:
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python -m pip install --quiet --disable-pip-version-check build twine 'readme_renderer[md]'
	@touch $@

# The wheel is built from the sdist, which checks that both are complete. dist/ then has only this version. twine checks
# that the README renders on the project's page.
wheel: .venv-build/.installed
	rm -rf dist
	.venv-build/bin/python -m build --quiet
	.venv-build/bin/python -m twine --no-color check --strict dist/*

.venv-tox/.installed:
	$(PYTHON) -m venv .venv-tox
	.venv-tox/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.30'
	@touch $@

# Missing interpreters are named and skipped here; in .ci/run they are an error.
matrix: .venv-tox/.installed
	@found=$$(.ci/interpreters $(INTERPRETERS)); \
	.venv-tox/bin/tox run $${found:+--discover $$found} $(ARGS)

# In parallel, since tests on a database server spend much of their time waiting.
databases: ENVIRONMENTS = py313-django61-postgresql,py312-django60-mysql
databases: .venv-tox/.installed
	@found=$$(.ci/interpreters $(INTERPRETERS)) && \
	.venv-tox/bin/tox run-parallel --parallel=all --parallel-no-spinner --skip-missing-interpreters=false \
	    --discover $$found -e $(ENVIRONMENTS) $(ARGS)

# The quick start is tested only if ORQ_QUICK_START names a file for its transcript; it needs PostgreSQL and Redis.
acceptance: wheel $(VENV)/.installed-test .venv-sdk-4.1.0rc29/.installed
	ORQ_WHEELS=dist ORQ_SDK_PYTHON='.venv-sdk-{}/bin/python' $(BIN)/python -m pytest tests/acceptance --numprocesses=2 --dist=loadgroup $(ARGS)

$(VENV)/.installed-brokers: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' 'celery[redis]' 'psycopg[binary]'
	@touch $@

# Uses servers on this machine, unless the environment names others.
brokers: export ORQ_BROKERS ?= redis://127.0.0.1:6379/0 amqp://guest:guest@127.0.0.1:5672//
brokers: export DATABASE_URL ?= postgres://postgres@127.0.0.1/django_orq_brokers
brokers: $(VENV)/.installed-brokers
	$(BIN)/python -m pytest tests/brokers tests/test_tasks.py --numprocesses=5 --dist=worksteal $(ARGS)

# Playwright's own browsers are not needed. ORQ_SCREENSHOTS sets another folder for the screenshots. Without the windows
# that nobody sees, Chromium needs less than half of the processors' time.
browser: export ORQ_BROWSER ?= $(shell command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome)
browser: export ORQ_SCREENSHOTS ?= .screenshots
browser: $(VENV)/.installed-browser
	@test -n "$$ORQ_BROWSER" || { echo "Chromium not found. Install it, or set ORQ_BROWSER to its path." >&2; exit 1; }
	$(BIN)/python -m pytest tests/browser --numprocesses=3 --dist=loadgroup $(ARGS)

# Those that some of the targets above have for themselves. For .ci/run, which installs them in advance.
environments: .venv-docs/.installed .venv-audit/.installed .venv-schema/.installed $(SDKS) .venv-build/.installed .venv-tox/.installed

# Installs the driver of the database server that DATABASE_URL names; SQLite needs none.
DRIVER = $(if $(filter postgres%,$(DATABASE_URL)),postgresql)$(if $(filter mysql%,$(DATABASE_URL)),mysql)
benchmark: $(VENV)/.installed-demo $(DRIVER:%=$(VENV)/.installed-%)
	$(BIN)/python -m tests.benchmarks $(if $(SMALL),--small) $(ARGS)
