"""Playwright, if `make browser` has installed it; otherwise modules that import this one are skipped."""

import os

import pytest

if not os.environ.get("ORQ_BROWSER"):
    pytest.skip("needs a browser: make browser", allow_module_level=True)

from playwright.sync_api import Error, Locator, Page, expect  # not installed where the above has skipped

expect.set_options(timeout=20_000)  # a machine with much else to do

__all__ = ["Error", "Locator", "Page", "expect"]
