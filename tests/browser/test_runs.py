"""Syncs in the admin: started, monitored, stopped for review and approved, with and without failures of Orq."""

import pytest

from django_orq.sync.intervals import MIN_ROWS

from ..programs import wait_until
from .conftest import mirrored_site
from .pages import FAULTS, confirm, expect_success, full_sync, state
from .playing import expect
from .site import turnstile

pytestmark = pytest.mark.xdist_group("walked")  # most share a site that takes long to fill

COUNT, PAGE_SIZE = 120, 10
LOST = 20
FAILS_AT_ONCE = ("401", "404")


@pytest.fixture(scope="module")
def _walked_site(template, tmp_path_factory):
    guard = {"MASS_DELETE_MIN": 5, "MASS_DELETE_SHARE": 0.01}
    options = {"PAGE_SIZE": PAGE_SIZE, "READ_TIMEOUT": 60, **guard}
    with mirrored_site(tmp_path_factory.mktemp("walked"), template, conversations=COUNT, **options) as site:
        yield site


@pytest.fixture
def walked_site(_walked_site):
    """A site for these tests only, with small pages, a low guard threshold and a long timeout."""
    yield _walked_site
    sandbox = _walked_site.sandbox
    sandbox.clear_faults()
    sandbox.hidden = set()


@pytest.fixture
def walked_page(walked_site, open_browser):
    return open_browser(walked_site)


def cancel(page):
    page.get_by_role("link", name="Cancel…").click()
    confirm(page)
    expect(state(page)).to_have_text("cancelled")


def lost_rows(site):
    """Some of the oldest rows, whose conversations are removed in Orq."""
    return site.conversations("deleted_at IS NULL")[:LOST]


def deleted(site, rows):
    return [site.again(row)["deleted_at"] is not None for row in rows]


def test_bar_moves_page_by_page_and_the_page_tells_the_end(walked_site, walked_page):
    bar = walked_page.get_by_role("progressbar", name="Progress")
    with turnstile(walked_site.sandbox) as turns:
        full_sync(walked_page)
        expect_success(walked_page, "is queued.")
        expect(state(walked_page)).to_have_text("running")
        turns.let_through(3)
        expect(bar).to_have_attribute("value", str(3 * PAGE_SIZE))
        turns.let_through(4)
        expect(bar).to_have_attribute("value", str(7 * PAGE_SIZE))
        turns.let_through(100)
        expect(state(walked_page)).to_have_text("completed")
    expect(bar).to_have_count(0)


@pytest.fixture(scope="module")
def large_site(template, tmp_path_factory):
    """A site whose mirror is read in three intervals."""
    options = {"READERS": 3, "READ_TIMEOUT": 60}
    with mirrored_site(tmp_path_factory.mktemp("large"), template, conversations=MIN_ROWS, **options) as site:
        yield site


def test_each_interval_has_a_bar_that_moves_until_its_end(large_site, open_browser):
    page = open_browser(large_site)
    bars = page.get_by_role("progressbar", name="Created from")
    with turnstile(large_site.sandbox) as turns:
        full_sync(page)
        expect(bars).to_have_count(3)  # without a reload: the run was queued when the page was loaded
        assert values(bars) == [0, 0, 0]
        turns.let_through(30)
        for bar in bars.all():
            expect(bar).not_to_have_attribute("value", "0")
        expect(page.get_by_role("list", name="Parts of Orq’s list")).to_be_visible()
        before = values(bars)
        turns.let_through(30)
        assert wait_until(lambda: sum(values(bars)) > sum(before))
        turns.let_through(200)
        expect(state(page)).to_have_text("completed")
    expect(page.get_by_role("progressbar")).to_have_count(0)


def values(bars):
    return [int(bar.get_attribute("value")) for bar in bars.all()]


@pytest.mark.parametrize("fault", FAULTS)
def test_sync_that_orq_refuses_changes_nothing_and_says_so(site, page, fault):
    before = site.conversations()
    site.sandbox.fail("list", times=None, **FAULTS[fault])

    full_sync(page)

    expect(state(page)).to_have_text("failed" if fault in FAILS_AT_ONCE else "waiting")
    expect(page.locator("[data-renewed=remarks]")).not_to_be_empty()
    assert site.conversations() == before
    if fault not in FAILS_AT_ONCE:
        cancel(page)


@pytest.mark.parametrize("fault", ["401", "500"])
def test_approved_run_that_orq_refuses_to_confirm_deletes_nothing(walked_site, walked_page, fault):
    lost = lost_rows(walked_site)
    walked_site.sandbox.hidden = {row["remote_id"] for row in lost}
    full_sync(walked_page)
    expect(state(walked_page)).to_have_text("completed with problems")
    walked_page.get_by_role("link", name="Approve…").click()
    walked_site.sandbox.fail("retrieve", times=None, **FAULTS[fault])

    confirm(walked_page)

    expect(state(walked_page)).to_have_text("failed" if fault in FAILS_AT_ONCE else "waiting")
    assert not any(deleted(walked_site, lost))
    if fault not in FAILS_AT_ONCE:
        cancel(walked_page)


def test_page_tells_that_the_server_is_out_of_reach_and_goes_on_once_it_is_back(walked_site, open_browser):
    page = open_browser(walked_site, forgives="/syncrun/")
    with turnstile(walked_site.sandbox) as turns:
        full_sync(page)
        expect(state(page)).to_have_text("running")
        page.route("**/syncrun/*/change/", lambda route: route.fulfill(status=503))
        expect(page.get_by_text("The server cannot be reached")).to_be_visible()
        page.unroute("**/syncrun/*/change/")
        turns.let_through(100)
        expect(state(page)).to_have_text("completed")
