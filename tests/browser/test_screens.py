"""How the pages look, on a desk and in a hand, by day and by night; the pictures are kept in ORQ_SCREENSHOTS."""

import os
from pathlib import Path

import pytest

from .conftest import AWKWARD, DESKTOP, RIGHT_TO_LEFT
from .looks import barriers, flaws
from .pages import ADD, LIST, change, confirm, delete, fill_name, save
from .playing import expect

PHONE = {"width": 390, "height": 844}
LOOKS = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}


@pytest.fixture(scope="session")
def album(tmp_path_factory):
    folder = Path(os.environ.get("ORQ_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=LOOKS)
def look(request, site, open_browser, album):
    """A page in one of the looks, and what takes its picture and finds fault with it."""
    page = open_browser(site, **LOOKS[request.param])

    def take(name: str) -> list[str]:
        # To hide the caret, a style would be written into the page, against the policy.
        page.screenshot(path=album / f"{name}-{request.param}.png", full_page=True, caret="initial")
        return [f"{name}: {flaw}" for flaw in (*flaws(page), *barriers(page))]

    return page, take


def test_list(site, look):
    page, take = look
    page.goto(LIST)
    assert take("list") == []


def test_add_and_its_failure(site, look):
    page, take = look
    page.goto(ADD)
    found = take("add")
    fill_name(page, "Where is my order?")
    site.sandbox.fail("create", status=500)
    save(page)
    expect(page.locator(".messagelist .error")).to_be_visible()
    assert found + take("add-failed") == []


@pytest.mark.parametrize("name", [AWKWARD, RIGHT_TO_LEFT], ids=["markup", "rtl"])
def test_change(site, look, name):
    page, take = look
    (row,) = site.conversations("display_name = ?", name)
    page.goto(change(row))
    assert take("change" if name == AWKWARD else "change-rtl") == []


def test_conflict(site, look):
    page, take = look
    row = site.take()
    page.goto(change(row))
    site.sandbox.rename(row["remote_id"], "Refund for order 1001, paid twice")
    fill_name(page, "Refund for order 1001")
    save(page)
    expect(page.locator(".errorlist")).to_be_visible()
    assert take("conflict") == []


def test_delete(site, look):
    page, take = look
    row = site.take()
    page.goto(delete(row))
    found = take("delete")
    confirm(page)
    expect(page.locator(".messagelist .success")).to_be_visible()
    found += take("deleted")
    page.goto(change(row))
    assert found + take("tombstone") == []
