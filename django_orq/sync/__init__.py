"""Sync runs: their states, their slices of work, and reports on them."""

from .runs import Freshness, freshness, newest_finished, under_way

__all__ = ["Freshness", "freshness", "newest_finished", "under_way"]
