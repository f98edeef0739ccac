"""Real brokers and a real database, configured by `make brokers`."""

import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_orq.testing import OrqSandbox

from .fleet import Broker, Fleet
from .ledger import Ledger, kept_ledger

SHORT = {"LEASE_SECONDS": 3, "SLICE_SECONDS": 1.5}


@pytest.fixture(scope="session")
def brokers() -> Mapping[str, str]:
    """The broker's URL, by scheme."""
    urls = os.environ.get("ORQ_BROKERS", "").split()
    if not urls:
        pytest.skip("needs PostgreSQL, Redis and RabbitMQ: make brokers")
    return {url.partition(":")[0]: url for url in urls}


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest, brokers: Mapping[str, str]) -> Iterator[Broker]:
    broker = Broker(brokers[request.param], queue=f"django-orq-tests-{uuid.uuid4().hex}")
    yield broker
    broker.remove()


@pytest.fixture
def ledger(brokers: object, transactional_db: None) -> Iterator[Ledger]:
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: make brokers")
    with kept_ledger() as ledger:
        yield ledger


@pytest.fixture
def new_fleet(tmp_path: Path, broker: Broker, ledger: Ledger, settings: Any) -> Callable[[Mapping[str, Any]], Fleet]:
    """Creates the fleet for these workspaces, with short leases and slices; also configures them in the test."""

    def new(workspaces: Mapping[str, Mapping[str, Any]]) -> Fleet:
        settings.ORQ_WORKSPACES = {alias: {**options, **SHORT} for alias, options in workspaces.items()}
        return Fleet(tmp_path, broker=broker.url, queue=broker.queue, workspaces=settings.ORQ_WORKSPACES)

    return new


@pytest.fixture
def brokerless(tmp_path: Path, ledger: Ledger, orq_sandbox: OrqSandbox) -> Iterator[Fleet]:
    """Commands configured with a broker that refuses all connections."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{reserved.getsockname()[1]}"
        yield Fleet(tmp_path, broker=url, queue="none", workspaces=orq_sandbox.settings())
