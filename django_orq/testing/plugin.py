"""The pytest plugin: the fixture `orq_sandbox`. It imports no Django."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .sandbox import OrqSandbox


@pytest.fixture
def orq_sandbox() -> "Iterator[OrqSandbox]":
    """A running sandbox with an empty workspace."""
    # pytest loads this module in every run: the server only in those that use it.
    from . import OrqSandbox  # noqa: PLC0415

    with OrqSandbox() as sandbox:
        yield sandbox
