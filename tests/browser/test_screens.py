"""The layout of the pages on desktop and mobile screens, light and dark; screenshots are in ORQ_SCREENSHOTS."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from django_orq.payloads import first_id
from django_orq.sync.intervals import Interval

from .conftest import AWKWARD, PHONE, RIGHT_TO_LEFT, mirrored_site
from .pages import (
    ADD,
    CHANGES,
    LIST,
    OPERATIONS,
    REJECTED,
    RUNS,
    change,
    confirm,
    delete,
    fill_name,
    full_sync,
    run_action,
    save,
    state,
)
from .playing import expect
from .site import turnstile

pytestmark = pytest.mark.xdist_group("pictured")  # they share a site that takes long to fill

UNREADABLE = (
    {"_id": "conv_1", "displayName": "An id of another kind", "createdAt": 1_764_000_000_000},
    {"kind": "conversation", "displayName": "Without an id " + "x" * 200},
)


def with_unreadable_entries(listed):
    """At the end of the list."""
    return listed if listed["has_more"] else {**listed, "data": [*listed["data"], *UNREADABLE]}


@pytest.fixture(scope="module")
def _pictured_site(template, tmp_path_factory):
    guard = {"MASS_DELETE_MIN": 5, "MASS_DELETE_SHARE": 0.01}
    folder = tmp_path_factory.mktemp("pictured")
    with mirrored_site(folder, template, conversations=100, PAGE_SIZE=10, READ_TIMEOUT=60, **guard) as site:
        yield site


@pytest.fixture
def site(_pictured_site):
    """A site for the screenshots only."""
    yield _pictured_site
    _pictured_site.sandbox.clear_faults()
    _pictured_site.sandbox.hidden = set()
    _pictured_site.sandbox.transform_list = None


def test_list(site, look):
    page, take = look
    page.goto(LIST)
    assert take("list") == []


def test_list_of_one_of_several_workspaces(site, look):
    page, take = look
    with site.in_closed_workspace(*(site.take() for _ in range(3))):
        page.goto(f"{LIST}?state=live")
        page.get_by_role("link", name="closed", exact=True).click()
        expect(page.locator("#result_list tbody tr")).to_have_count(3)
        assert take("list-of-workspace") == []


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


def test_timeline_and_list_of_changes(site, look):
    page, take = look
    row = site.take()
    page.goto(change(row))
    fill_name(page, "Refund for order 1001")
    save(page)
    site.sandbox.rename(row["remote_id"], "Refund for order 1001, paid")
    page.goto(change(row))
    fill_name(page, "Refund for order 1001, paid twice")
    save(page)
    save(page)
    page.goto(change(row))
    expect(page.locator(".orq-timeline li")).to_have_count(3)
    found = take("timeline")
    page.goto(CHANGES)
    expect(page.locator("#result_list tbody tr").first).to_be_visible()
    assert found + take("changes") == []


def test_history(site, look):
    page, take = look
    (row,) = site.conversations("display_name = ?", RIGHT_TO_LEFT)
    page.goto(f"{change(row)}../history/")
    assert take("history-rtl") == []


def test_missing_conversation(site, look):
    page, take = look
    row = site.take()
    site.sandbox.remove(row["remote_id"])
    page.goto(change(row))
    fill_name(page, "Renamed in vain")
    save(page)
    expect(page.locator(".messagelist .error")).to_be_visible()
    assert take("missing") == []


def test_several_renamed(site, look):
    page, take = look
    rows = [site.take() for _ in range(3)]
    page.goto(f"{LIST}?all=")  # other tests add conversations, and the rows may be on the second page by now
    run_action(page, "Rename selected conversations", rows)
    found = take("bulk-rename")
    for row in rows:
        page.get_by_label(row["display_name"], exact=True).fill(f"{row['display_name'][:80]} (settled)")
    site.sandbox.rename(rows[1]["remote_id"], f"{rows[1]['display_name'][:80]} (reopened)")
    save(page)
    expect(state(page)).to_have_text("finished")
    found += take("outcome")
    page.goto(OPERATIONS)
    found += take("operations")
    page.goto(ADD)
    fill_name(page, "Where is my order?")
    save(page)
    expect(page.locator(".messagelist .success")).to_be_visible()
    page.goto(OPERATIONS)
    page.get_by_role("link", name="create 1 conversation").first.click()
    page.wait_for_url("**/change/")
    assert found + take("operation-single") == []


def test_several_deleted_and_created_again(site, look):
    page, take = look
    rows = [site.take() for _ in range(3)]
    page.goto(f"{LIST}?all=")  # other tests add conversations, and the rows may be on the second page by now
    run_action(page, "Delete selected conversations", rows)
    found = take("bulk-delete")
    confirm(page)
    expect(state(page)).to_have_text("finished")
    page.goto(f"{LIST}?state=deleted&all=")
    run_action(page, "Create deleted conversations again", rows)
    assert found + take("bulk-create-again") == []


def test_run_with_its_bar(site, look):
    page, take = look
    with turnstile(site.sandbox) as turns:
        full_sync(page)
        expect(state(page)).to_have_text("running")
        turns.let_through(4)
        expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("value", "40")
        expect(page.locator("[data-progress-text]")).to_contain_text("40 conversations")
        found = take("run")
        page.get_by_text("Technical details").click()
        expect(page.get_by_text("Requests to Orq:")).to_be_visible()
        found += take("run-details")
        page.get_by_role("link", name="Cancel…").click()
        expect(page.get_by_role("button", name="Yes, I’m sure")).to_be_visible()
        assert found + take("run-cancel") == []
        page.go_back()
        turns.let_through(100)
        expect(state(page)).not_to_have_text("running")


CUTS = [None, *map(first_id, (datetime(2026, 10, 3, tzinfo=UTC), datetime(2026, 8, 12, tzinfo=UTC))), None]
INTERVALS = [Interval(below=below, down_to=to, entries=19) for below, to in pairwise(CUTS)]


def test_run_with_bars_of_intervals(site, look):
    """The intervals are written into the run's row, because a mirror that is cut is large."""
    page, take = look
    with turnstile(site.sandbox) as turns:
        full_sync(page)
        expect(state(page)).to_have_text("running")
        site.set_intervals([INTERVALS[0], replace(INTERVALS[1], done=True), INTERVALS[2]])
        expect(page.get_by_role("progressbar", name="Created from Aug. 12, 2026 to Oct. 3, 2026")).to_be_visible()
        assert take("run-intervals") == []
        turns.let_through(100)
        expect(state(page)).not_to_have_text("running")


def test_run_that_rests(site, look):
    page, take = look
    site.sandbox.fail("list", status=503, headers={"Retry-After": "600"})
    full_sync(page)
    expect(state(page)).to_have_text("waiting")
    found = take("run-waiting")
    page.get_by_role("button", name="Pause").click()
    expect(state(page)).to_have_text("paused")
    found += take("run-paused")
    page.goto(ADD)
    fill_name(page, "Where is my order?")
    save(page)
    expect(page.locator(".messagelist .error")).to_be_visible()
    found += take("add-waiting")
    site.forget_waits()
    site.sandbox.fail("list", status=401)
    page.goto(RUNS)
    page.get_by_role("button", name="Fetch new").click()
    expect(state(page)).to_have_text("failed")
    assert found + take("run-failed") == []


def test_run_without_problems_fits_two_screens_of_a_phone(site, look):
    page, take = look
    full_sync(page)
    expect(state(page)).to_have_text("completed")
    found = take("run-completed")
    assert page.evaluate("document.documentElement.scrollHeight") <= 2 * PHONE["height"]
    page.goto(f"{RUNS}?result=all")
    assert found + take("runs-all") == []


def test_entries_that_cannot_be_read(site, look):
    page, take = look
    site.sandbox.transform_list = with_unreadable_entries
    full_sync(page)
    expect(state(page)).to_have_text("completed with problems")
    found = take("run-partial")
    page.goto(REJECTED)
    found += take("unreadable")
    page.locator("#result_list tbody a").first.click()
    page.wait_for_url("**/change/")
    assert found + take("unreadable-entry") == []


NAMES = (
    "Where is my order 771204?",
    "Delivery address is wrong, order 558120",
    "João Gonçalves: não recebi o código de confirmação",
    "Где мой заказ №950684?",
    "Factura 230687 con el año incorrecto",
    "Refund for Olivia Bennett: order 742603 arrived broken",
    "Invoice 118200 shows the wrong VAT rate",
    "Quick question about opening hours",
)


def test_pictures_of_the_readme(template, tmp_path, open_browser, album):
    """Screenshots of the window, not of the whole page; after a review they are copied to docs/images."""
    options = {"PAGE_SIZE": 10, "READ_TIMEOUT": 60}
    with mirrored_site(tmp_path, template, conversations=240, **options) as site:
        for row in site.conversations("display_name IN (?, ?)", AWKWARD, RIGHT_TO_LEFT):
            site.sandbox.remove(row["remote_id"])
        site.sync("--full")
        rows = site.mirror_new(*reversed(NAMES))[::-1]
        page = open_browser(site, viewport={"width": 1280, "height": 720})
        page.goto(LIST)
        expect(page.get_by_role("link", name=NAMES[0])).to_be_visible()
        page.screenshot(path=album / "readme-list.png", caret="initial")

        run_action(page, "Rename selected conversations", rows[:5])
        for row in rows[:5]:
            page.get_by_label(row["display_name"], exact=True).fill(f"{row['display_name']} (settled)")
        site.sandbox.rename(rows[1]["remote_id"], f"{rows[1]['display_name']} (reopened)")
        save(page)
        expect(page.locator("section.orq-standing")).to_contain_text("5 of 5: 4 done, 1 failed")
        page.set_viewport_size({"width": 1280, "height": 780})
        page.screenshot(path=album / "readme-outcome.png", caret="initial")
        page.set_viewport_size({"width": 1280, "height": 720})

        with turnstile(site.sandbox) as turns:
            full_sync(page)
            turns.let_through(15)
            expect(page.locator("[data-progress-text]")).to_contain_text("150 conversations")
            page.screenshot(path=album / "readme-run.png", caret="initial")
            turns.let_through(100)
            expect(state(page)).to_have_text("completed")


def test_held_run(site, look):
    page, take = look
    site.sandbox.hidden = {row["remote_id"] for row in site.conversations("deleted_at IS NULL")[:20]}
    full_sync(page)
    expect(state(page)).to_have_text("completed with problems")
    found = take("to_approve")
    page.get_by_role("link", name="Approve…").click()
    found += take("approve")
    page.goto(RUNS)
    found += take("runs")
    page.goto(LIST)
    assert found + take("list-after-held") == []
