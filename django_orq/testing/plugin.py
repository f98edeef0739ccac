"""The pytest plugin with the fixture `orq_sandbox`. It does not import Django."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .sandbox import OrqSandbox


@pytest.fixture
def orq_sandbox() -> "Iterator[OrqSandbox]":
    """A running sandbox with an empty workspace."""
    # pytest imports this module in every run; the server is imported only if it is used.
    from . import OrqSandbox  # noqa: PLC0415

    with OrqSandbox() as sandbox:
        yield sandbox
