"""The pytest plugin with the fixture `orq_sandbox`. It does not import Django."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .sandbox import OrqSandbox


@pytest.fixture
def orq_sandbox() -> "Iterator[OrqSandbox]":
    """A running sandbox with an empty workspace."""
    from . import OrqSandbox  # noqa: PLC0415 # pytest imports this module in every run, but few need the server

    with OrqSandbox() as sandbox:
        yield sandbox
