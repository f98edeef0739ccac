"""The judgement on the sync above the lists, in each state that it knows, provoked for real."""

import re

import pytest

from .conftest import mirrored_site, watched
from .pages import LIST, RUNS, full_sync, state
from .playing import expect
from .site import VIEWER

pytestmark = pytest.mark.xdist_group("judged")  # they share a site that takes long to fill

COUNT, LOST = 40, 10


@pytest.fixture(scope="module")
def _judged_site(template, tmp_path_factory):
    guard = {"MASS_DELETE_MIN": 5, "MASS_DELETE_SHARE": 0.01}
    with mirrored_site(tmp_path_factory.mktemp("judged"), template, conversations=COUNT, **guard) as site:
        yield site


@pytest.fixture
def site(_judged_site):
    """A site that is healthy again when the test ends."""
    yield _judged_site
    _judged_site.sandbox.clear_faults()
    _judged_site.sandbox.hidden = set()
    _judged_site.forget_waits()
    for mode in ((), ("--full",)):
        _judged_site.sync("--fresh", *mode)


def expect_judgement(page, level, words):
    """The same above both lists; the page that is left is that of conversations."""
    for url in (RUNS, LIST):
        page.goto(url)
        panel = page.locator(f".orq-health.orq-{level}")
        expect(panel.locator(".orq-judgement")).to_contain_text(words)
    return panel


def fetch_new(page):
    page.goto(LIST)
    page.get_by_role("button", name="Fetch new", exact=True).click()


def test_healthy(site, look):
    page, take = look
    panel = expect_judgement(page, "ok", "The sync is healthy.")
    expect(panel).to_contain_text(re.compile(r"Last complete check: new conversations .+, renames and deletions "))
    assert take("health-ok") == []


def test_refused_key(site, look, chromium):
    page, take = look
    site.sandbox.fail("list", times=None, status=401)
    fetch_new(page)
    expect(state(page)).to_have_text("failed")

    expect_judgement(page, "fail", "Run “manage.py orq_doctor”.")

    assert take("health-key") == []
    with watched(chromium, site, VIEWER) as theirs:
        panel = expect_judgement(theirs, "fail", "Orq rejects this site's API key. Ask the site's administrator.")
        expect(panel).not_to_contain_text("orq_doctor")
        expect(panel.get_by_role("button")).to_have_count(0)


def test_failed_run_is_started_again(site, look):
    page, take = look
    site.sandbox.fail("list", status=418)
    full_sync(page)
    expect(state(page)).to_have_text("failed")

    panel = expect_judgement(page, "fail", "418")

    assert take("health-failed") == []
    panel.get_by_role("button", name="Start again").click()
    expect(state(page)).to_have_text("completed")
    expect_judgement(page, "ok", "The sync is healthy.")


def test_missing_worker(site, look, chromium):
    page, take = look
    with site.stopped_worker():
        fetch_new(page)
        expect(state(page)).to_have_text("queued")
        of_run = page.url
        site.age_runs("2 minutes")

        expect_judgement(page, "fail", "Is a worker consuming the queue “celery”?")

        assert take("health-worker") == []
        with watched(chromium, site, VIEWER) as theirs:
            panel = expect_judgement(theirs, "fail", "It has been waiting to be processed for 2 minutes.")
            expect(panel).not_to_contain_text("celery")
    page.goto(of_run)
    expect(state(page)).to_have_text("completed")


@pytest.mark.parametrize(
    ("name", "age", "words", "button"),
    [
        ("stale", "1 hours", "New conversations may be missing here.", "Fetch new"),
        ("names", "27 hours", "Names may be out of date here", "Full sync"),
    ],
)
def test_old_mirror_is_brought_up_to_date(site, look, name, age, words, button):
    page, take = look
    site.age_runs(age)
    if name == "names":
        site.sync()

    panel = expect_judgement(page, "look", words)

    assert take(f"health-{name}") == []
    panel.get_by_role("button", name=button).click()
    expect(state(page)).to_have_text("completed")
    expect_judgement(page, "ok", "The sync is healthy.")


def test_run_to_be_reviewed(site, look):
    page, take = look
    site.sandbox.hidden = {row["remote_id"] for row in site.conversations("deleted_at IS NULL")[:LOST]}
    full_sync(page)
    expect(state(page)).to_have_text("completed with problems")

    panel = expect_judgement(page, "look", "A sync was stopped for review")

    assert take("health-review") == []
    panel.get_by_role("link", name="Review").click()
    expect(page.get_by_role("link", name="Approve…")).to_be_visible()


def test_wait(site, look):
    page, take = look
    site.sandbox.fail("list", status=429, headers={"Retry-After": "600"})
    fetch_new(page)
    expect(state(page)).to_have_text("waiting")

    panel = expect_judgement(page, "look", "The run can resume after")

    assert take("health-wait") == []
    panel.get_by_role("link", name="Review").click()
    expect(page.get_by_role("link", name="Cancel…")).to_be_visible()
