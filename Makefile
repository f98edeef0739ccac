# Everything here needs only Python 3.11 or newer and make; each target sets itself up.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PARALLEL = --numprocesses=auto --maxprocesses=4 --dist=loadgroup
INTERPRETERS = python3.11 python3.12 python3.13 # of the matrix in setup.cfg

.DEFAULT_GOAL := help
.PHONY: help demo test matrix check audit docs schema conformance wheel acceptance brokers browser benchmark

help:
	@echo "make demo   run the example project: sandbox, sync, worker, beat and admin together"
	@echo "            (CHECK=1: prove that all of it works, then stop)"
	@echo "make test   run the tests with branch coverage, on SQLite"
	@echo "make matrix the tests on the built wheel, for each Python and Django of setup.cfg whose Python is here"
	@echo "make check  format ('.venv/bin/ruff format .' mends it), lint, types, Django's checks, missing migrations, layer contract,"
	@echo "            and the tables of the documentation ('.venv/bin/python docs/tables.py' writes them anew)"
	@echo "make docs   the documentation, built strictly into docs/_build, and each block of code in it followed"
	@echo "make audit  the newest versions of what the app needs, looked up among known vulnerabilities"
	@echo "            (ORQ_AUDIT=required: no service to ask is a failure, not a warning)"
	@echo "make schema the REST views held to their OpenAPI description, by schemathesis"
	@echo "make conformance  the vendor's own SDKs as clients of the sandbox"
	@echo "make wheel  build sdist and wheel into dist/"
	@echo "make acceptance   the built wheel in an empty project, filled by the vendor's SDK"
	@echo "make brokers      workers that are killed, suspended and refused, on Redis and RabbitMQ with PostgreSQL"
	@echo "make browser      the admin of the example project in a real browser (Chromium), with screenshots"
	@echo "make benchmark    speed and memory of full syncs of 1,000 and 100,000 conversations; where DATABASE_URL"
	@echo "                  names PostgreSQL, of the lists of 1,000,000 in admin and REST too"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# By exec, Ctrl-C and make's own SIGTERM reach the demo itself, which ends all that it started.
demo: $(VENV)/.installed-demo
	@exec $(BIN)/python -m example_project.demo $(if $(CHECK),--check)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not documentation and not volume" --cov --cov-report=term-missing:skip-covered $(ARGS)

check: export ORQ_API_KEY ?= of no workspace
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

# All of it each time, so that a warning of an unchanged page is no secret.
docs: .venv-docs/.installed $(VENV)/.installed-test
	.venv-docs/bin/sphinx-build -W --keep-going -n -q -E -a docs docs/_build $(ARGS)
	$(BIN)/python -m pytest $(PARALLEL) tests/test_documentation.py

.venv-audit/.installed:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	@touch $@

# A service that is out of reach, or that does not know a version, has audited nothing.
audit: .venv-audit/.installed
	@sed -n '/^install_requires =/,/^$$/s/^    //p' setup.cfg > .venv-audit/requirements.txt
	@for service in pypi osv; do \
	    said=$$(.venv-audit/bin/pip-audit --progress-spinner=off --vulnerability-service=$$service --requirement=.venv-audit/requirements.txt $(ARGS) 2>&1) \
	        && known=yes || known=; \
	    case $$said in \
	        *"Found "*" known vulnerabilit"*) echo "$$said"; exit 1 ;; \
	        *"could not be audited"*) ;; \
	        *) if [ "$$known" ]; then echo "$$said"; exit; fi ;; \
	    esac; \
	    echo "$$service: $$(echo "$$said" | tail -1 | cut -c -200)"; \
	done; \
	echo "WARNING: NOT AUDITED: no advisory service knew all of the packages. ORQ_AUDIT=required makes this a failure."; \
	[ "$$ORQ_AUDIT" != required ]

# An environment of its own: schemathesis would be a plugin of all other tests.
.venv-schema/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-schema
	.venv-schema/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[schema]'
	@touch $@

schema: .venv-schema/.installed
	.venv-schema/bin/python -m tests.openapi $(ARGS)

# Environments of their own: the SDKs pin old versions of requests.
.venv-sdk-%/.installed:
	$(PYTHON) -m venv .venv-sdk-$*
	.venv-sdk-$*/bin/python -m pip install --quiet --disable-pip-version-check orq-ai-sdk==$*
	@touch $@

conformance: $(VENV)/.installed-test .venv-sdk-4.1.0rc29/.installed .venv-sdk-4.3.20/.installed
	ORQ_SDK_PYTHON='.venv-sdk-{}/bin/python' $(BIN)/python -m pytest tests/conformance $(ARGS)

.venv-build/.installed:
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python -m pip install --quiet --disable-pip-version-check build twine 'readme_renderer[md]'
	@touch $@

# By way of the sdist, so that both are whole; and dist/ holds this version alone. The README must show as a project page.
wheel: .venv-build/.installed
	rm -rf dist
	.venv-build/bin/python -m build --quiet
	.venv-build/bin/python -m twine --no-color check --strict dist/*

.venv-tox/.installed:
	$(PYTHON) -m venv .venv-tox
	.venv-tox/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.30'
	@touch $@

# What is missing is named and left out; .ci/run has it demanded.
matrix: .venv-tox/.installed
	@found=$$(.ci/interpreters $(INTERPRETERS)); \
	.venv-tox/bin/tox run $${found:+--discover $$found} $(ARGS)

# The quick start is followed where ORQ_QUICK_START names a file for its transcript: it needs PostgreSQL and Redis.
acceptance: wheel $(VENV)/.installed-test .venv-sdk-4.1.0rc29/.installed
	ORQ_WHEELS=dist ORQ_SDK_PYTHON='.venv-sdk-{}/bin/python' $(BIN)/python -m pytest tests/acceptance --numprocesses=2 --dist=loadgroup $(ARGS)

$(VENV)/.installed-brokers: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' 'celery[redis]' 'psycopg[binary]'
	@touch $@

# Servers of this machine, unless the environment names others.
brokers: export ORQ_BROKERS ?= redis://127.0.0.1:6379/0 amqp://guest:guest@127.0.0.1:5672//
brokers: export DATABASE_URL ?= postgres://postgres@127.0.0.1/django_orq_brokers
brokers: $(VENV)/.installed-brokers
	$(BIN)/python -m pytest tests/brokers tests/test_tasks.py --numprocesses=3 --dist=worksteal $(ARGS)

# Playwright's own browsers are not needed; ORQ_SCREENSHOTS keeps the pictures in another folder.
browser: export ORQ_BROWSER ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
browser: export ORQ_SCREENSHOTS ?= .screenshots
browser: $(VENV)/.installed-browser
	@test -n "$$ORQ_BROWSER" || { echo "No Chromium found: install it, or name its program in ORQ_BROWSER." >&2; exit 1; }
	$(BIN)/python -m pytest tests/browser --numprocesses=3 --dist=loadgroup $(ARGS)

benchmark: $(VENV)/.installed-demo
	$(BIN)/python -m tests.benchmarks
