"""Runs in the admin: started, monitored, paused, resumed, approved and cancelled; how current the mirror is."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from django_orq.admin.texts import local
from django_orq.models import Conversation, SyncRun, WorkspaceWait, searching
from django_orq.payloads import first_id
from django_orq.sync import report, runs
from django_orq.sync.intervals import Interval, saved
from django_orq.sync.report import remarks

from ..brokering import messages, refusing_port
from ..celery import app
from ..values import set_columns
from ..walking import configure, full_run, incremental_run, work_on
from .test_admin import INLINE_CODE, both_ways, user_with

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = "admin:django_orq_syncrun"
LIST = reverse(f"{NAMES}_changelist")
START = reverse(f"{NAMES}_start")
CONVERSATIONS = reverse("admin:django_orq_conversation_changelist")
WALK = "django_orq.walk_conversations"


@pytest.fixture
def broker_out_of_reach():
    before = app.conf.broker_url
    with refusing_port() as port:
        app.conf.update(broker_url=f"amqp://127.0.0.1:{port}")
        yield
    app.conf.update(broker_url=before)


@pytest.fixture
def routed():
    """Makes Celery route the messages of runs to the queue “orq”."""
    yield app.conf.update(task_routes={"django_orq.*": {"queue": "orq"}})
    app.conf.update(task_routes=None)
    del app.amqp.router


@pytest.fixture
def held_run(settings, remote) -> SyncRun:
    """A run that the guard stopped for review, with three missing conversations."""
    configure(settings, MASS_DELETE_MIN=2, MASS_DELETE_SHARE=0)
    ids = [remote.add(f"Ticket {number}")["_id"] for number in range(5)]
    full_run()
    for id_ in ids[:3]:
        remote.remove(id_)
    return full_run()


WATCHED = '<div class="orq-progress" data-progress>'
"""Marks a page that is renewed by a script."""
OFFERS = ("resume", "approve", "pause", "cancel")


def page(run: SyncRun, name: str = "change") -> str:
    return reverse(f"{NAMES}_{name}", args=[run.pk])


def sync_now(client: Client, mode: str = "incremental", **fields):
    return client.post(START, {"mode": mode, **fields})


def new_run(**columns) -> SyncRun:
    """A run in a state that runs can reach."""
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).update(**columns)
    run.refresh_from_db()
    return run


def before(**length) -> datetime:
    return datetime.now(UTC) - timedelta(**length)


def text_of(response) -> str:
    return response.content.decode()


def words_of(response) -> str:
    """The text of a page, without markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", text_of(response)).split())


def said(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def history_of(run: SyncRun) -> list[str]:
    entries = LogEntry.objects.filter(object_id=str(run.pk)).order_by("pk")
    return [entry.get_change_message() for entry in entries]


# Freshness


def test_mirror_that_was_never_synced_says_so(remote, admin_client):
    assert "Last complete check: new conversations not synced yet, renames and deletions not synced yet" in words_of(
        admin_client.get(CONVERSATIONS)
    )


def test_freshness_is_the_start_of_the_newest_complete_run_of_each_kind(remote, admin_client):
    full, incremental = full_run(), incremental_run()
    SyncRun.objects.filter(pk=full.pk).update(started_at=before(minutes=43, seconds=5))
    SyncRun.objects.filter(pk=incremental.pk).update(started_at=before(minutes=1, seconds=5))

    response = admin_client.get(CONVERSATIONS)

    shown = words_of(response).replace("\xa0", " ")
    assert "Last complete check: new conversations 1 minute ago , renames and deletions 43 minutes ago ." in shown
    assert re.search(r'<time datetime="2[^"]+" title="[^"]+">1.minute ago</time>', text_of(response))


def test_last_run_is_named_with_a_link_to_it_and_the_one_under_way_too(remote, admin_client):
    ended = full_run()
    unfinished = runs.open_run("default", "incremental")

    shown = text_of(admin_client.get(CONVERSATIONS))

    assert f'<a href="{page(ended)}">#{ended.pk} (Full sync), completed</a>' in shown
    assert f'<a href="{page(unfinished)}">#{unfinished.pk} (Fetch new), queued</a>' in shown


def test_runs_are_named_without_a_link_to_whoever_may_not_see_them(remote):
    ended = full_run()

    shown = text_of(user_with("view_conversation").get(CONVERSATIONS))

    assert f"#{ended.pk} (Full sync), completed" in shown
    assert page(ended) not in shown


def test_each_workspace_has_its_own_freshness(two_workspaces, admin_client):
    full_run()
    never = "new conversations not synced yet"

    assert never in words_of(admin_client.get(CONVERSATIONS, {"workspace": "sales"}))
    assert never not in words_of(admin_client.get(CONVERSATIONS))


def test_page_that_another_one_opened_to_choose_from_has_no_freshness(remote, admin_client):
    assert START not in text_of(admin_client.get(CONVERSATIONS, {"_popup": "1"}))


# Sync now


@both_ways
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_click_starts_a_run_and_tells_that_a_worker_will_take_it(remote, admin_client, queue, mode, atomic_requests):
    response = sync_now(admin_client, mode)

    run = SyncRun.objects.get()
    assert (run.mode, run.state) == (mode, "queued")
    assert response.url == page(run)
    assert "is queued." in said(response)
    assert messages(queue) == [(WALK, [run.pk])]


@both_ways
def test_click_tells_that_the_broker_is_out_of_reach(remote, admin_client, broker_out_of_reach, atomic_requests):
    response = sync_now(admin_client)

    run = SyncRun.objects.get()
    assert run.state == "queued"
    assert "no worker could be notified" in said(response)
    assert "A worker will process it" not in said(response)
    assert "Waiting for the next scheduled sync." in text_of(admin_client.get(response.url))


def test_several_clicks_are_one_run_and_one_message(remote, admin_client, queue):
    for _click in range(4):
        assert "is queued." in said(sync_now(admin_client))

    assert messages(queue) == [(WALK, [SyncRun.objects.get().pk])]


def test_click_goes_on_with_a_paused_run_however_short_the_pause(remote, admin_client, queue):
    run = runs.open_run("default", "incremental")
    sync_now(admin_client)
    runs.pause(run)
    messages(queue)

    sync_now(admin_client)

    run.refresh_from_db()
    assert run.state == "queued"
    assert messages(queue) == [(WALK, [run.pk])]


def test_click_goes_on_with_a_run_whose_wait_is_over_and_tells_no_old_problem(remote, admin_client, queue):
    remote.fail("list", status=503)
    run = work_on(runs.open_run("default", "incremental"))
    assert run.state == "waiting"
    SyncRun.objects.update(resume_at=run.queued_at, enqueued_at=None)

    response = sync_now(admin_client)

    assert said(response) == f"Sync run {run.pk} of workspace “default” is queued."
    assert messages(queue) == [(WALK, [run.pk])]


def test_click_goes_on_with_a_run_whose_budget_is_spent(remote, settings, admin_client, queue):
    configure(settings, PAGE_SIZE=1)
    remote.add("A")
    remote.add("B")
    run = work_on(runs.open_run("default", "full", max_seconds=0.000_001))
    assert run.wait == "budget"

    sync_now(admin_client, "full")

    assert messages(queue) == [(WALK, [run.pk])]
    assert work_on(run).state == "succeeded"


def test_click_on_a_run_that_has_to_wait_says_why(remote, admin_client, queue):
    remote.fail("list", status=429, headers={"Retry-After": "90"})
    full_run()

    response = sync_now(admin_client, "full")

    assert ": waiting." in said(response)
    assert "Orq asked us to wait" in said(response)
    assert messages(queue) == []


def test_click_on_a_run_that_is_being_walked_adds_no_message(remote, admin_client, queue):
    new_run(state="running", lease_until=before(minutes=-2))

    assert ": running." in said(sync_now(admin_client, "full"))
    assert messages(queue) == []


def test_list_of_several_workspaces_asks_for_one_of_them(two_workspaces, admin_client, queue):
    shown = text_of(admin_client.get(LIST))

    assert "To start a sync, choose a workspace in the filter." in shown
    assert START not in shown


def test_form_on_a_filtered_list_is_for_that_workspace(two_workspaces, admin_client, queue):
    for url in (CONVERSATIONS, LIST):
        shown = text_of(admin_client.get(url, {"workspace": "sales"}))
        assert '<input type="hidden" name="workspace" value="sales" form="orq-form">' in shown

    sync_now(admin_client, workspace="sales")

    assert SyncRun.objects.get().workspace == "sales"


@pytest.mark.parametrize("fields", [{"mode": "confirm"}, {"mode": ""}, {"workspace": "other"}, {}], ids=str)
def test_nonsense_and_wrong_settings_are_answered_with_a_message(remote, settings, admin_client, fields):
    if not fields:
        settings.ORQ_WORKSPACES = {"default": {"API_KEY": "key", "PAGE_SIZE": 0}}

    response = sync_now(admin_client, **fields)

    assert response.status_code == 302
    assert re.search("mode must be|Ask the site's administrator", said(response))
    assert not SyncRun.objects.exists()


def test_whoever_may_not_see_runs_is_led_to_a_page_that_he_may_see(remote, queue):
    assert sync_now(user_with("run_sync", "view_conversation")).url == CONVERSATIONS


def test_whoever_may_see_neither_conversations_nor_runs_can_start_none(remote, queue):
    assert sync_now(user_with("run_sync")).status_code == 403
    assert not SyncRun.objects.exists()
    User.objects.all().delete()
    assert sync_now(user_with("run_sync", "view_syncrun")).status_code == 302
    assert SyncRun.objects.exists()


def test_whoever_may_not_see_runs_can_only_fetch_what_is_new(remote, queue):
    client, run = user_with("run_sync", "view_conversation"), runs.open_run("default", "full")

    refused = [sync_now(client, "full"), *(client.post(page(run, act)) for act in ("pause", "cancel", "approve"))]
    refused += [client.get(page(run, act)) for act in ("cancel", "approve")]

    assert {response.status_code for response in refused} == {403}
    run.refresh_from_db()
    assert run.state == "queued"


@pytest.mark.parametrize("state", ["queued", "failed"])
def test_full_sync_is_only_offered_to_whoever_may_start_it(remote, queue, state):
    new_run(state=state, finished_at=before(minutes=2), error_code="server_error")
    for more, modes in (((), {"incremental"}), (("view_syncrun",), {"incremental", "full"})):
        shown = text_of(user_with("run_sync", "view_conversation", *more).get(CONVERSATIONS))

        assert set(re.findall(f'formaction="{START}" name="mode" value="([a-z]+)"', shown)) == modes
        User.objects.all().delete()


# The list and the page of a run


def test_list_names_counters_duration_and_remarks(remote, admin_client):
    remote.add("Refund")
    run = full_run()
    times = {"started_at": before(minutes=9, seconds=5), "finished_at": before(minutes=6, seconds=5)}
    SyncRun.objects.filter(pk=run.pk).update(**times, unlisted=2)

    shown = words_of(admin_client.get(LIST)).replace("\xa0", " ")

    assert re.search(f"#{run.pk} Full sync completed [^#]+ 3 minutes 1 read 1 created 2 conversations are miss", shown)


FINISHED = {"state": "succeeded", "finished_at": before(minutes=1)}
WORTH_A_LOOK: list[dict[str, object]] = [
    *({counter: 1} for counter in ("created", "updated", "restored", "missing", "tombstoned", "unlisted")),
    *({problem: 1} for problem in ("rejected", "outdated", "to_approve", "ended_early")),
    {"needs_approval": "no_canary"},
    {"error_code": "database_trouble"},
    *({"state": state} for state in ("partial", "failed", "cancelled")),
    *({"state": state, "finished_at": None} for state in ("queued", "running", "waiting", "paused")),
]


@pytest.mark.parametrize("columns", WORTH_A_LOOK, ids=str)
def test_list_hides_runs_that_changed_nothing_until_it_is_asked_for_all(remote, admin_client, columns):
    counters = {"seen": 9, "unchanged": 9, "skipped": 1}
    idle, other = new_run(**FINISHED, slot=None, **counters), new_run(**(FINISHED | {"slot": None} | columns))

    assert listed_runs(admin_client.get(LIST)) == [other]
    assert listed_runs(admin_client.get(LIST, {"result": "all"})) == [other, idle]


def listed_runs(response) -> list[SyncRun]:
    return list(response.context["cl"].result_list)


def test_list_names_its_choices(remote, admin_client):
    assert "By result Changed something All By state" in words_of(admin_client.get(LIST))


def test_list_has_the_newest_only(remote, admin_client, monkeypatch):
    monkeypatch.setattr(searching, "MAX_SEARCHED", 2)
    runs_made = [new_run(**FINISHED, slot=None, created=1) for _ in range(4)]

    assert listed_runs(admin_client.get(LIST, {"result": "all"})) == runs_made[:1:-1]
    assert admin_client.get(page(runs_made[0])).status_code == 200


def test_remarks_are_shown_whole(remote, admin_client):
    told = {**EVERY_REMARK, "approvals": [{"reason": "mass_delete", "by": "x" * 300, "at": "2026-03-01T11:05:00Z"}]}
    run = new_run(**FINISHED | {"state": "partial"}, **told)

    assert " ".join(remarks(run, format_time=local)) in words_of(admin_client.get(LIST))


def test_bars_are_as_long_as_their_share_of_the_longest_duration(remote, admin_client):
    for seconds in (200, 1, 50):
        new_run(
            **FINISHED | {"started_at": FINISHED["finished_at"] - timedelta(seconds=seconds)}, slot=None, created=1
        )
    new_run(started_at=before(minutes=9))

    shown = text_of(admin_client.get(LIST))

    bar = '<svg class="orq-bar" aria-hidden="true"><rect width="{}%"'
    assert re.findall(r'field-took[^>]*>([^<]*)(<svg.*?<rect width="\d+%")?', shown) == [
        ("-", ""),
        ("50 seconds", bar.format(25)),
        ("1 second", bar.format(1)),
        ("3\xa0minutes", bar.format(100)),
    ]


def test_bars_of_runs_that_took_no_time_are_empty(remote, admin_client):
    new_run(**FINISHED, started_at=FINISHED["finished_at"], created=1)

    assert '<rect width="0%"' in text_of(admin_client.get(LIST))


def test_list_costs_the_same_number_of_queries_however_many_runs_it_shows(remote, admin_client, statements):
    def cost() -> int:
        with statements() as collected:
            admin_client.get(LIST)
        return len(collected)

    full_run()
    few = cost()
    for _more in range(4):
        full_run()

    assert cost() == few


@pytest.mark.parametrize(
    ("columns", "offered"),
    [
        ({"state": "succeeded", "finished_at": before(minutes=1)}, set()),
        ({"state": "paused"}, {"resume", "cancel"}),
        ({"state": "running", "lease_until": before(minutes=-9)}, {"pause", "cancel"}),
    ],
    ids=["finished", "paused", "running"],
)
def test_page_is_renewed_while_the_run_may_change_by_itself_and_offers_what_fits(
    remote, admin_client, columns, offered
):
    run = new_run(**columns)

    shown = text_of(admin_client.get(page(run)))

    assert (WATCHED in shown) == (columns["state"] == "running")
    assert {name for name in OFFERS if page(run, name) in shown} == offered


def test_page_of_an_unfinished_run_shows_how_far_it_is_and_can_be_read_without_a_script(remote, admin_client):
    run = new_run(state="running", seen=1230, pages=13, mirrored_before=3000, lease_until=before(minutes=-2))

    shown = text_of(admin_client.get(page(run)))

    assert WATCHED in shown
    assert '<label for="orq-progress-bar">Progress</label>' in shown
    assert '<progress id="orq-progress-bar" value="1230" max="3000">' in shown
    assert "1,230 conversations, 13 pages" in shown
    assert "<noscript>" in shown


def test_bar_has_no_value_while_nobody_knows_how_long_the_list_is(remote, admin_client):
    run = new_run(state="running", seen=1230, lease_until=before(minutes=-2))

    assert '<progress id="orq-progress-bar"></progress>' in text_of(admin_client.get(page(run)))


def test_renewal_of_the_page_leaves_messages_to_the_pages_that_show_them(remote, admin_client):
    admin_client.post(START, {"mode": "full"})
    run = SyncRun.objects.get()

    renewed = text_of(admin_client.get(page(run), headers={"X-Orq-Renewal": "1"}))

    assert "is queued." not in renewed
    assert "is queued." in text_of(admin_client.get(page(run)))


CUT = first_id(datetime(2026, 10, 3, 12, tzinfo=UTC))
INTERVALS = saved([Interval(down_to=CUT, entries=120), Interval(below=CUT, cursor=CUT, entries=1130, done=True)])


def test_page_has_a_bar_for_each_interval(remote, admin_client):
    run = new_run(state="running", mirrored_before=3000, intervals=INTERVALS, lease_until=before(minutes=-2))

    shown = text_of(admin_client.get(page(run)))

    assert 'aria-labelledby="orq-intervals"' in shown
    assert '<label for="orq-interval-0">Created from Oct. 3, 2026 to now</label>' in shown
    assert '<progress id="orq-interval-0" value="120" max="1500">' in shown
    assert '<label for="orq-interval-1">Created from the beginning to Oct. 3, 2026</label>' in shown
    assert '<progress id="orq-interval-1" value="1500" max="1500">' in shown


@pytest.mark.parametrize(
    "columns", [{"intervals": []}, {"intervals": INTERVALS[:1]}, {"intervals": INTERVALS, "phase": "confirm"}]
)
def test_page_has_one_bar_unless_several_intervals_are_being_read(remote, admin_client, columns):
    run = new_run(state="running", mirrored_before=3000, lease_until=before(minutes=-2), **columns)

    shown = text_of(admin_client.get(page(run)))

    assert shown.count("<progress") == 1
    assert "orq-intervals" not in shown


@pytest.mark.parametrize("end", [runs.cancel, runs.pause])
def test_page_is_no_longer_renewed_once_the_run_stands_still(remote, admin_client, end):
    run = new_run()
    end(run)

    assert WATCHED not in text_of(admin_client.get(page(run)))


def test_progress_of_a_confirmation_counts_the_missing(settings, remote, admin_client):
    ids = [remote.add(f"Ticket {number}")["_id"] for number in range(4)]
    full_run()
    for row in Conversation.objects.filter(remote_id__in=ids[:3]):
        set_columns(row, missing_since=before(hours=1))
    new_run(state="running", phase="confirm", looked_up=2, lease_until=before(minutes=-2))

    shown = text_of(admin_client.get(page(SyncRun.objects.latest("pk"))))

    assert '<progress id="orq-progress-bar" value="2" max="5">' in shown
    assert "2 looked up by id" in shown


# Texts that users understand

JARGON = re.compile(
    r"\b(?:cursor|phase|walk\w*|payload\w*|tombstone\w*|canary|checkpoint|lease\w*|upsert\w*|reconcile\w*|rests on|"
    r"REQUESTS_PER_MINUTE|MASS_DELETE\w*)\b",
    re.IGNORECASE,
)
IN_EACH_STATE: dict[str, dict[str, object]] = {
    "queued": {"enqueued_at": before(minutes=9)},
    "running": {"lease_until": before(minutes=-2)},
    "waiting": {"wait": "budget"},
    "paused": {},
    **{state: {"finished_at": before(minutes=1)} for state in ("succeeded", "partial", "failed", "cancelled")},
}
EVERY_REMARK = {
    "rejected": 2,
    "outdated": 3,
    "unlisted": 4,
    "ended_early": True,
    "needs_approval": "no_canary",
    "to_approve": 5,
}


@pytest.mark.parametrize("state", SyncRun.State.values)
def test_page_says_what_the_state_means_and_nothing_in_jargon(remote, admin_client, state):
    run = new_run(state=state, **IN_EACH_STATE[state], **EVERY_REMARK, error_code="database_trouble")

    words = words_of(admin_client.get(page(run)))

    state, reason, meaning = f"State: {run.get_state_display()}", report.remarks(run)[0], report.meaning_of_state(run)
    if state == "State: failed":  # what went wrong is more important than what it means
        assert words.index(state) < words.index(reason) < words.index(meaning)
    else:
        assert f"{state} {meaning}" in words
    assert JARGON.findall(words) == []


@pytest.mark.parametrize("kind", [*SyncRun.Wait, *SyncRun.Approval, *SyncRun.Phase], ids=str)
def test_reasons_and_steps_are_no_jargon(kind):
    assert JARGON.findall(str(kind.label)) == []


@pytest.mark.parametrize("mode", SyncRun.Mode.values)
def test_page_says_what_a_run_of_its_kind_does(remote, admin_client, mode):
    run = new_run(mode=mode)

    assert f"Mode: {run.get_mode_display()} {report.meaning_of_mode(run)}" in words_of(admin_client.get(page(run)))


def test_running_says_what_the_worker_does(remote, admin_client):
    walking = new_run(state="running", lease_until=before(minutes=-2))
    assert "Reading Orq’s list." in text_of(admin_client.get(page(walking)))

    SyncRun.objects.update(phase="confirm")
    assert "Looking up the missing conversations in Orq, one by one." in text_of(admin_client.get(page(walking)))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"seen": 1801, "missing": 700, "to_approve": 700, "unchanged": 1101}, "1,801 checked, 700 missing"),
        ({"seen": 3, "updated": 1, "created": 2, "tombstoned": 1}, "3 checked, 1 deleted, 2 created"),
        ({"seen": 3, "unchanged": 3}, "3 checked"),
    ],
    ids=str,
)
def test_title_has_the_counters_that_matter(remote, admin_client, columns, told):
    run = new_run(**FINISHED, **columns)

    shown = text_of(admin_client.get(page(run)))

    assert f'<h1 class="orq-title" data-renewed="title">Full sync {run.pk}: {told}</h1>' in shown
    assert shown.count("<h1") == 1


def test_counters_that_are_zero_share_one_line_and_none_is_lost(remote, admin_client):
    run = new_run(**FINISHED, seen=9, created=2, rejected=1)

    words = words_of(admin_client.get(page(run)))

    told = (
        "Read: 9 ",
        "Created: 2 ",
        "Rejected: ",
        "Counts of zero: updated, ",
    )  # Django 6.1 shows help texts elsewhere
    assert re.search("Conversations " + ".*".join(told), words)
    _before, zeros = words.split("Counts of zero: ")
    assert zeros.startswith(
        "updated, unchanged, missing, deleted, unlisted, needed approval, restored, local copy was newer, "
        "Orq’s list was out of date"
    )


def test_times_of_a_finished_run_that_matter_only_to_operators_are_folded(remote, admin_client):
    run = new_run(started_at=before(minutes=2), state="paused")
    assert "Queued:" in text_of(admin_client.get(page(run))).split("<details")[0]

    set_finished = {"finished_at": before(minutes=1), "state": "succeeded"}
    SyncRun.objects.filter(pk=run.pk).update(**set_finished)
    above, details = text_of(admin_client.get(page(run))).split("<details")

    assert all(label in above for label in ("Started:", "Finished:", "Duration:"))
    assert all(label in details and label not in above for label in ("Queued:", "Last progress:", "Resumes at:"))


# Back to the list

FILTERED = "?_changelist_filters=result%3Dall%26mode__exact%3Dfull"
BACK = f'href="{LIST}?result=all&amp;mode__exact=full"'


def test_close_leads_back_to_the_filtered_list(remote, admin_client):
    run = new_run()
    rows = text_of(admin_client.get(f"{LIST}?result=all&mode__exact=full")).partition("result_list")[2]
    (link,) = set(re.findall(f'href="({page(run)}[^"]*)"', rows))
    assert link == page(run) + FILTERED

    shown = text_of(admin_client.get(link))

    assert BACK in shown
    assert shown.count(">Close<") == 1
    assert f'href="{LIST}" class="button' in text_of(admin_client.get(page(run)))


@pytest.mark.parametrize("name", ["resume", "approve", "pause", "cancel"])
def test_actions_keep_the_way_back(remote, admin_client, held_run, name):
    run = held_run if name == "approve" else new_run(state="paused" if name == "resume" else "running")
    action = page(run, name) + FILTERED
    assert f'"{action}"' in text_of(admin_client.get(page(run) + FILTERED))
    if name in ("approve", "cancel"):
        assert f'href="{page(run)}{FILTERED}"' in text_of(admin_client.get(action))

    response = admin_client.post(action, {"reason": "mass_delete"})

    assert response.url == page(run) + FILTERED


def test_start_keeps_the_way_back_too(remote, admin_client):
    shown = text_of(admin_client.get(f"{LIST}?result=all"))
    start = START + "?_changelist_filters=result%3Dall"
    assert f'formaction="{start}"' in shown

    response = admin_client.post(start, {"mode": "full"})

    assert response.url == page(SyncRun.objects.get()) + "?_changelist_filters=result%3Dall"


def test_technical_details_are_folded_at_the_end(remote, admin_client):
    shown = text_of(admin_client.get(page(full_run())))

    above, details = shown.split("<details")
    assert all(label in details for label in ("Newest conversation", "Requests to Orq"))
    assert not any(label in above for label in ("Newest conversation", "Requests to Orq"))
    assert "<fieldset" not in details


def test_rejected_items_are_linked_only_if_there_are_some(remote, admin_client):
    link = reverse("admin:django_orq_rejectedpayload_changelist") + "?last_run__id__exact="
    assert link not in text_of(admin_client.get(page(full_run())))

    run = new_run(rejected=1)

    shown = text_of(admin_client.get(page(run)))
    assert f"{link}{run.pk}" in shown
    assert "see “rejected items” in the admin" in shown.lower()
    assert link not in text_of(user_with("view_syncrun").get(page(run)))


# Approve, resume, pause, cancel

SURE = {"reason": "mass_delete"}


def test_question_tells_of_how_many_it_is(held_run, remote, admin_client):
    set_columns(Conversation.objects.live().first(), missing_since=datetime.now(UTC) + timedelta(seconds=5))
    question = text_of(admin_client.get(page(held_run, "approve")))
    assert "3 missing conversations need review (more conversations are missing than may be deleted" in question
    assert "looks up the conversations that Orq’s list omits (3)" in question
    assert f'href="{CONVERSATIONS}?state=missing&amp;workspace=default"' in question

    known = list(Conversation.objects.live())
    assert known
    for row in known:  # by their ids, and to be looked up again
        set_columns(row, missing_since=before(days=3), confirmed_at=before(days=2))
    question = text_of(admin_client.get(page(held_run, "approve")))
    assert "3 missing conversations need review" in question
    assert f"looks up the conversations that Orq’s list omits ({3 + len(known)})" in question

    for row in [*Conversation.objects.missing(), *known]:
        set_columns(row, missing_since=None, confirmed_at=None)
    assert "you need not approve the run" in text_of(admin_client.get(page(held_run, "approve")))


def test_whoever_may_not_see_conversations_is_not_led_to_them(held_run):
    question = text_of(user_with("view_syncrun", "run_sync").get(page(held_run, "approve")))

    assert "Look at the missing ones" not in question


def test_run_stopped_for_review_shows_how_many_and_asks_before_it_goes_on(held_run, admin_client, queue):
    shown = text_of(admin_client.get(page(held_run)))
    assert "3 missing conversations need review" in shown
    assert f'<a class="button default orq-button" href="{page(held_run, "approve")}">' in shown

    assert "Nothing was changed" in said(admin_client.post(page(held_run, "approve")))  # without what the person saw
    held_run.refresh_from_db()
    assert held_run.needs_approval == "mass_delete"
    assert messages(queue) == []


def test_approved_run_reopens_once_and_says_who_approved_it(held_run, admin_client, queue):
    responses = [admin_client.post(page(held_run, "approve"), SURE) for _click in range(2)]

    assert [response.url for response in responses] == [page(held_run)] * 2
    assert messages(queue) == [(WALK, [held_run.pk])]
    assert history_of(held_run) == ["Approved."]
    work_on(held_run)
    assert Conversation.objects.deleted().count() == 3
    shown = text_of(admin_client.get(page(held_run)))
    assert "Approved by admin" in shown
    assert page(held_run, "approve") not in shown


@pytest.mark.parametrize("reason", [" ", "\0", "MASS_DELETE", "mass_delete "])
def test_reason_that_is_none_approves_nothing(held_run, admin_client, queue, reason):
    ended = full_run()
    for run in (held_run, ended):
        assert "Nothing was changed" in said(admin_client.post(page(run, "approve"), {"reason": reason}))
        run.refresh_from_db()
        assert (run.is_finished, run.approvals) == (True, [])


def test_run_that_doubted_its_workspace_is_approved_and_starts_at_the_head(remote, admin_client, queue):
    remote.add("Ours")
    full_run()
    remote.remove(remote.conversations[0]["_id"])
    remote.add("Theirs")
    doubting = full_run()
    assert doubting.needs_approval == "workspace_doubted"
    assert "you confirm that the API key and base URL" in text_of(admin_client.get(page(doubting, "approve")))

    admin_client.post(page(doubting, "approve"), {"reason": "workspace_doubted"})

    run = work_on(doubting)
    assert (run.created, run.needs_approval) == (1, "mass_delete")


def test_approval_that_another_run_must_precede_says_which(held_run, admin_client):
    other = runs.open_run("default", "full")

    response = admin_client.post(page(held_run, "approve"), SURE)

    assert response.url == page(held_run)
    assert f"Sync run {other.pk} is unfinished" in said(response)


def test_approval_of_what_a_later_full_run_has_settled_is_refused(held_run, settings, admin_client):
    configure(settings, MASS_DELETE_MIN=50)
    full_run()

    assert page(held_run, "approve") not in text_of(admin_client.get(page(held_run)))
    response = admin_client.get(page(held_run, "approve"))
    assert (response.url, "Nothing was changed" in said(response)) == (page(held_run), True)
    assert "is superseded" in said(admin_client.post(page(held_run, "approve"), SURE))


def test_paused_run_resumes_without_a_question(remote, admin_client, queue):
    run = new_run(state="paused")

    response = admin_client.post(page(run, "resume"))

    run.refresh_from_db()
    assert (run.state, response.url) == ("queued", page(run))
    assert messages(queue) == [(WALK, [run.pk])]
    assert history_of(run) == ["Resumed."]


def test_run_of_a_workspace_that_is_configured_no_more_does_not_go_on_and_says_why(
    remote, settings, admin_client, queue
):
    run = new_run(state="paused")
    settings.ORQ_WORKSPACES = {"research": settings.ORQ_WORKSPACES["default"]}

    assert "Ask the site's administrator." in said(admin_client.post(page(run, "resume")))
    run.refresh_from_db()
    assert run.state == "paused"
    assert messages(queue) == []


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_run_of_a_workspace_that_is_configured_no_more_can_be_stopped(
    remote, settings, admin_client, queue, verb, state
):
    run = new_run(state="queued")
    settings.ORQ_WORKSPACES = {"research": settings.ORQ_WORKSPACES["default"]}

    assert f": {state}." in said(admin_client.post(page(run, verb)))
    run.refresh_from_db()
    assert run.state == state
    assert messages(queue) == []


def test_run_whose_budget_is_spent_can_be_resumed_on_its_page(remote, settings, admin_client, queue):
    configure(settings, PAGE_SIZE=1)
    remote.add("A")
    remote.add("B")
    run = work_on(runs.open_run("default", "full", max_seconds=0.000_001))
    assert page(run, "resume") in text_of(admin_client.get(page(run)))

    admin_client.post(page(run, "resume"))

    assert messages(queue) == [(WALK, [run.pk])]


def test_whoever_resumes_a_run_that_another_has_just_resumed_is_told_so(remote, admin_client, monkeypatch, queue):
    run = new_run(state="paused")

    def resumed_meanwhile(seen: SyncRun) -> bool:
        assert runs.resume(SyncRun.objects.get()) is not None
        return seen.state == "paused"

    monkeypatch.setattr(runs, "can_be_resumed", resumed_meanwhile)

    response = admin_client.post(page(run, "resume"))

    assert said(response) == f"Nothing was changed: sync run {run.pk} is in the state “queued”."
    assert not LogEntry.objects.exists()
    assert messages(queue) == []


def test_run_that_goes_on_says_nothing_of_old_troubles(remote, admin_client, queue):
    remote.fail("list", status=500)
    run = full_run()
    admin_client.post(page(run, "pause"))
    assert "Orq failed with status" in text_of(admin_client.get(page(run)))

    assert "trouble" not in said(admin_client.post(page(run, "resume")))


def test_pause_stops_a_run_where_it_is(remote, admin_client):
    run = new_run(state="running", pages=3, lease_until=before(minutes=-2))

    response = admin_client.post(page(run, "pause"))

    run.refresh_from_db()
    assert (run.state, run.pages, run.lease_until) == ("paused", 3, None)
    assert ": paused." in said(response)


def test_cancel_asks_first_and_then_ends_the_run(remote, admin_client):
    run = new_run(state="running", pages=3, lease_until=before(minutes=-2))

    assert "Do you want to cancel" in text_of(admin_client.get(page(run, "cancel")))
    run.refresh_from_db()
    assert run.state == "running"

    response = admin_client.post(page(run, "cancel"), {"post": "yes"})
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert ": cancelled." in said(response)


@pytest.mark.parametrize(
    ("method", "name"),
    [("get", "approve"), ("get", "cancel"), *(("post", name) for name in OFFERS)],
)
def test_click_that_comes_too_late_is_told_so(remote, admin_client, method, name):
    run = full_run()

    response = getattr(admin_client, method)(page(run, name), {"post": "yes"})

    assert response.url == page(run)
    assert "Nothing was changed" in said(response)
    assert "completed" in said(response)
    run.refresh_from_db()
    assert run.state == "succeeded"


@pytest.mark.parametrize("name", OFFERS)
def test_click_on_a_run_that_was_removed_meanwhile_is_told_so(remote, admin_client, name):
    run = full_run()
    url = page(run, name)
    run.delete()

    response = admin_client.post(url, {"post": "yes"})

    assert response.url == LIST
    assert "There is no sync run" in said(response)


# Runs without a worker

TAKEN_BY_NONE = "It has been waiting to be processed for"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"enqueued_at": timedelta(seconds=30)}, []),
        (
            {"enqueued_at": timedelta(minutes=3, seconds=2)},
            ["It has been waiting to be processed for 3 minutes. Ask the site's administrator."],
        ),
        (
            {"state": "running", "enqueued_at": timedelta(seconds=62)},
            [f"{TAKEN_BY_NONE} 1 minute."],
        ),
        ({"state": "running", "checkpoint_at": timedelta(seconds=2)}, []),
        ({"state": "running", "checkpoint_at": timedelta(seconds=90)}, ["Waiting for the next scheduled sync."]),
        ({"enqueued_at": None}, ["Waiting for the next scheduled sync."]),
        ({"state": "paused", "enqueued_at": timedelta(hours=3)}, []),
        ({"state": "waiting", "wait": "budget", "enqueued_at": None}, ["The run’s time budget is used up"]),
        ({"state": "waiting", "wait": "backoff", "resume_at": timedelta(minutes=-3)}, ["The run can resume after"]),
        (
            {
                "state": "waiting",
                "wait": "backoff",
                "resume_at": timedelta(minutes=3),
                "enqueued_at": timedelta(minutes=3),
            },
            ["The run can resume after", TAKEN_BY_NONE],
        ),
        ({"state": "running", "lease_until": timedelta(minutes=-2)}, []),
        (
            {"state": "running", "lease_until": timedelta(minutes=2)},
            ["Processing was interrupted. The next scheduled sync resumes it."],
        ),
        ({"state": "cancelled", "finished_at": timedelta(minutes=3), "enqueued_at": timedelta(minutes=9)}, []),
    ],
    ids=str,
)
def test_run_that_no_worker_takes_says_so(remote, columns, expected):
    """The parameters say how long ago each time was."""
    now = datetime.now(UTC)
    ago = {name: now - value if isinstance(value, timedelta) else value for name, value in columns.items()}

    found = remarks(new_run(**ago))

    assert len(found) == len(expected)
    assert all(remark.startswith(beginning) for remark, beginning in zip(found, expected, strict=True))


@pytest.mark.parametrize("queue", ["orq", "celery"])
def test_queue_is_the_one_that_celery_routes_runs_to(remote, request, queue):
    if queue == "orq":
        request.getfixturevalue("routed")

    assert f"the queue “{queue}”" in " ".join(remarks(new_run(enqueued_at=before(minutes=3)), for_terminal=True))


# Times


@pytest.mark.parametrize(
    ("language", "expected"), [("en", "March 2, 2026, 12:05 a.m."), ("de", "2. März 2026 00:05")], ids=["en", "de"]
)
def test_times_are_those_of_the_reader(remote, settings, admin_client, language, expected):
    settings.TIME_ZONE, settings.LANGUAGE_CODE = "Pacific/Auckland", language
    moment = datetime(2026, 3, 1, 11, 5, tzinfo=UTC)
    run = new_run(state="waiting", wait="backoff", resume_at=moment, enqueued_at=before(minutes=-9))

    shown = [text_of(admin_client.get(LIST)), text_of(admin_client.get(page(run)))]

    assert all(expected in text and "UTC" not in text for text in shown)


def test_wait_that_binds_all_runs_is_told_once_and_in_the_time_of_the_reader(remote, settings, admin_client, queue):
    settings.TIME_ZONE = "Pacific/Auckland"
    WorkspaceWait.objects.create(workspace="default", until=before(minutes=-7))
    run = full_run()
    assert (run.state, run.error_code) == ("waiting", "must_wait")

    (told,) = get_messages(sync_now(admin_client, "full").wsgi_request)

    assert date_format(timezone.localtime(run.resume_at), "DATETIME_FORMAT") in str(told)
    assert str(told).count("wait until") + str(told).count("resume after") == 1
    assert "UTC" not in str(told)
    assert "UTC" in " ".join(remarks(run))


# Permissions

VIEWS = {
    "list": ("get", lambda run: LIST),
    "page": ("get", lambda run: page(run)),
    "start": ("post", lambda run: START),
    "pause": ("post", lambda run: page(run, "pause")),
    "cancel": ("post", lambda run: page(run, "cancel")),
    "resume": ("post", lambda run: page(run, "resume")),
    "approve": ("post", lambda run: page(run, "approve")),
    "ask to cancel": ("get", lambda run: page(run, "cancel")),
    "ask to approve": ("get", lambda run: page(run, "approve")),
}
READING = ("list", "page")
EVERYBODY: dict[str, tuple[str, ...] | None] = {
    "anonymous": None,
    "without permission": ("change_conversation",),
    "viewer": ("view_syncrun", "view_conversation"),
    "may sync": ("view_syncrun", "run_sync"),
}


def visit(client: Client, view: str, run: SyncRun):
    method, url = VIEWS[view]
    fields = {"mode": "full", "post": "yes"} if method == "post" else {}
    return getattr(client, method)(url(run), fields)


def assert_unchanged(run: SyncRun) -> None:
    unchanged = {field.attname: getattr(run, field.attname) for field in SyncRun._meta.concrete_fields}
    assert list(SyncRun.objects.values()) == [unchanged]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("who", EVERYBODY)
def test_views_are_open_to_those_with_the_permission(remote, view, queue, who):
    run, permissions = new_run(state="paused"), EVERYBODY[who]

    response = visit(Client() if permissions is None else user_with(*permissions), view, run)

    if permissions is None:
        assert response.url.startswith(reverse("admin:login"))
    elif who == "may sync":
        assert response.status_code in (200, 302)
    else:
        assert response.status_code == (200 if who == "viewer" and view in READING else 403)
    if who != "may sync":
        assert_unchanged(run)


@pytest.mark.parametrize("view", [view for view, (method, _url) in VIEWS.items() if method == "post"])
def test_posts_without_a_token_are_refused(remote, view, admin_user):
    run = new_run(state="paused")
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    assert visit(client, view, run).status_code == 403
    assert_unchanged(run)


def test_buttons_are_shown_to_those_who_may_use_them_only(remote):
    run = new_run(state="running", lease_until=before(minutes=-2))
    pages = (CONVERSATIONS, LIST, page(run))
    forms = re.compile("|".join((START, page(run, "pause"), page(run, "cancel"))))
    viewer = user_with("view_syncrun", "view_conversation")
    assert not any(forms.search(text_of(viewer.get(url))) for url in pages)
    User.objects.all().delete()

    syncer = user_with("view_syncrun", "view_conversation", "run_sync")
    shown = [text_of(syncer.get(url)) for url in pages]
    assert all(forms.search(text) for text in shown)
    assert all("csrfmiddlewaretoken" in text for text in shown)


@pytest.mark.parametrize("name", ["start", "pause"])
def test_orders_by_get_are_refused(remote, admin_client, name):
    run = new_run()
    url = START if name == "start" else page(run, name)

    assert admin_client.get(url).status_code == 405
    assert_unchanged(run)


# What pages are made of


def test_pages_hold_no_code_or_style_of_their_own(held_run, admin_client):
    run = new_run(state="running", lease_until=before(minutes=-2))
    urls = (CONVERSATIONS, LIST, page(run), page(held_run), page(run, "cancel"), page(held_run, "approve"))

    assert [url for url in urls if INLINE_CODE.search(text_of(admin_client.get(url)))] == []


def test_files_that_the_pages_name_are_there(remote, admin_client):
    shown = text_of(admin_client.get(page(new_run())))

    named = re.findall(r'(?:src|href)="/static/(django_orq/[^"]+)"', shown)
    assert sorted(named) == ["django_orq/admin.css", "django_orq/progress.js"]
    assert all(finders.find(name) for name in named)
