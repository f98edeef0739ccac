"""Sync runs: opened, worked on slice by slice, and judged."""

from .runs import Freshness, freshness, newest_finished, under_way

__all__ = ["Freshness", "freshness", "newest_finished", "under_way"]
