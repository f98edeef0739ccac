"""Views that ask Orq are called outside of transactions, whatever ``ATOMIC_REQUESTS`` says."""

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connections, transaction
from django.urls import URLPattern


def outside_of_transactions(patterns: Iterable[URLPattern]) -> None:
    """Have these views called outside of ``ATOMIC_REQUESTS``, whichever database they use."""
    for pattern in patterns:
        never_atomic(pattern.callback)


def never_atomic(view: Callable[..., Any]) -> None:
    """Have this view called outside of ``ATOMIC_REQUESTS``."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
