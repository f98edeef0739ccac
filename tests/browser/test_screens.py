"""How the pages look, on a desk and in a hand, by day and by night; the pictures are kept in ORQ_SCREENSHOTS."""

import os
from pathlib import Path

import pytest

from .conftest import AWKWARD, DESKTOP, RIGHT_TO_LEFT, mirrored_site
from .looks import barriers, flaws
from .pages import (
    ADD,
    LIST,
    OPERATIONS,
    RUNS,
    change,
    confirm,
    delete,
    fill_name,
    run_action,
    save,
    state,
    sync_everything,
)
from .playing import expect
from .site import turnstile

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


@pytest.fixture(scope="module")
def _pictured_site(template, tmp_path_factory):
    guard = {"MASS_DELETE_MIN": 5, "MASS_DELETE_SHARE": 0.01}
    folder = tmp_path_factory.mktemp("pictured")
    with mirrored_site(folder, template, conversations=100, PAGE_SIZE=10, READ_TIMEOUT=60, **guard) as site:
        yield site


@pytest.fixture
def site(_pictured_site):
    """A site of these pictures alone."""
    yield _pictured_site
    _pictured_site.sandbox.clear_faults()
    _pictured_site.sandbox.hidden = set()


@pytest.fixture(params=LOOKS)
def look(request, site, open_browser, album):
    """A page in one of the looks, and what takes its picture and finds fault with it."""
    page = open_browser(site, **LOOKS[request.param])

    def take(name: str) -> list[str]:
        # To hide the caret, a style would be written into the page, against the policy.
        page.screenshot(path=album / f"{name}-{request.param}.png", full_page=True, caret="initial")
        # Of size, axe-core knows nothing.
        found = (*flaws(page), *(() if request.param == "phone" else barriers(page)))
        return [f"{name}: {flaw}" for flaw in found]

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


def test_several_renamed(site, look):
    page, take = look
    rows = [site.take() for _ in range(3)]
    page.goto(LIST)
    run_action(page, "Rename selected conversations", rows)
    found = take("bulk-rename")
    for row in rows:
        page.get_by_label(row["display_name"], exact=True).fill(f"{row['display_name'][:80]} (settled)")
    site.sandbox.rename(rows[1]["remote_id"], f"{rows[1]['display_name'][:80]} (reopened)")
    save(page)
    expect(state(page)).to_have_text("finished")
    found += take("outcome")
    page.goto(OPERATIONS)
    assert found + take("operations") == []


def test_several_deleted_and_created_again(site, look):
    page, take = look
    rows = [site.take() for _ in range(3)]
    page.goto(LIST)
    run_action(page, "Delete selected conversations", rows)
    found = take("bulk-delete")
    confirm(page)
    expect(state(page)).to_have_text("finished")
    page.goto(f"{LIST}?state=deleted")
    run_action(page, "Create deleted conversations again", rows)
    assert found + take("bulk-create-again") == []


def test_run_with_its_bar(site, look):
    page, take = look
    with turnstile(site.sandbox) as turns:
        sync_everything(page)
        expect(state(page)).to_have_text("running")
        turns.let_through(4)
        expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("value", "40")
        expect(page.locator("[data-progress-text]")).to_contain_text("40 conversations")
        assert take("run") == []
        turns.let_through(100)
        expect(state(page)).not_to_have_text("running")


def test_held_run(site, look):
    page, take = look
    site.sandbox.hidden = {row["remote_id"] for row in site.conversations("deleted_at IS NULL")[:20]}
    sync_everything(page)
    expect(state(page)).to_have_text("partial")
    found = take("held")
    page.get_by_role("link", name="Go on…").click()
    found += take("go-on")
    page.goto(RUNS)
    found += take("runs")
    page.goto(LIST)
    assert found + take("list-after-held") == []
