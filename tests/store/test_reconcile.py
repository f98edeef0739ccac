from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from django.db import IntegrityError, connection  # noqa: F401 # named by marks
from django.db.models import QuerySet
from hypothesis import HealthCheck, given, settings, strategies as st

from django_orq.exceptions import MirrorContended
from django_orq.models import Conversation, SyncRun
from django_orq.store import reconcile as reconciling
from django_orq.store.history import Requester
from django_orq.store.reconcile import _Moved as MirrorMoved, mark_deleted, mark_gone, mark_missing, reconcile, unmark
from django_orq.store.rules import Answer, Plan, Verdict

from ..threads import in_thread
from ..values import REMOTE_ID, answer, at, conversation, mirrored_values, set_columns

pytestmark = pytest.mark.django_db


def mirror(*answers: Answer) -> Conversation:
    for given_answer in answers:
        reconcile(given_answer, workspace="default")
    return Conversation.objects.get(remote_id=REMOTE_ID)


def verdict_of(given_answer: Answer) -> Verdict:
    (change,) = reconcile(given_answer, workspace="default").changes
    return change.verdict


def test_new_conversation_becomes_a_row_with_every_value():
    row = mirror(answer(conversation()))

    assert mirrored_values(row) == {
        "workspace": "default",
        "remote_id": REMOTE_ID,
        "display_name": "Refund for order 1001",
        "remote_created_at": at(0),
        "remote_updated_at": at(0),
        "created_by_id": "user-1",
        "updated_by_id": None,
        "metadata": {"model": "gpt"},
        "extra": {"projectId": "p-1"},
        "fingerprint": None,
        "mirrored_at": at(101),
        "missing_since": None,
        "confirmed_at": None,
        "deleted_at": None,
    }


@pytest.mark.parametrize(
    ("change", "listed", "asked", "verdict"),
    [
        pytest.param({"updated_at": at(9)}, True, 200, Verdict.UPDATED, id="newer from a list"),
        pytest.param({"updated_at": at(9)}, False, 200, Verdict.UPDATED, id="newer from an answer for the id"),
        pytest.param({"updated_at": at(9)}, True, 50, Verdict.UPDATED, id="newer though asked for earlier"),
        pytest.param({"display_name": "X"}, True, 200, Verdict.UPDATED, id="equal time, asked for later"),
        pytest.param({"display_name": "X"}, True, 101, Verdict.SKIPPED, id="equal time, asked for at that moment"),
        pytest.param({"display_name": "X"}, True, 50, Verdict.SKIPPED, id="equal time, asked for earlier"),
        pytest.param({"updated_at": at(-9)}, True, 50, Verdict.SKIPPED, id="older from a late list"),
        pytest.param({"updated_at": at(-9)}, True, 200, Verdict.OUTDATED, id="older from a list asked for later"),
        pytest.param({"updated_at": at(-9)}, False, 50, Verdict.SKIPPED, id="older from a late answer for the id"),
        pytest.param({"updated_at": at(-9)}, False, 200, Verdict.UPDATED, id="older, restored from a backup"),
        pytest.param({"extra": {"new": 1}}, True, 200, Verdict.UPDATED, id="another extra field in a list"),
        pytest.param({"extra": {"messages": []}}, False, 200, Verdict.UNCHANGED, id="an extra field outside a list"),
        pytest.param({"metadata": None}, True, 200, Verdict.UPDATED, id="metadata gone"),
        pytest.param({"updated_by_id": "user-2"}, True, 200, Verdict.UPDATED, id="updated by someone"),
    ],
)
def test_order_of_answers(change: dict[str, Any], listed: bool, asked: float, verdict: Verdict):
    before = mirrored_values(mirror(answer(conversation())))
    changed = conversation(**change)

    assert verdict_of(answer(changed, asked=asked, listed=listed)) is verdict

    after = mirrored_values(Conversation.objects.get())
    if verdict is not Verdict.UPDATED:
        assert after == before
    else:
        assert after["mirrored_at"] == max(at(asked + 1), before["mirrored_at"])
        assert after["display_name"] == changed.display_name
        assert after["remote_updated_at"] == changed.updated_at
        assert after["metadata"] == changed.metadata
        assert after["updated_by_id"] == changed.updated_by_id
        assert after["extra"] == (changed.extra if listed else before["extra"])


def test_metadata_that_is_gone_is_stored_as_sql_null():
    mirror(answer(conversation()), answer(conversation(metadata=None), asked=200))

    assert Conversation.objects.filter(metadata__isnull=True).exists()


def test_any_order_of_pages_gives_the_same_row():
    pages = [
        answer(conversation(display_name=f"name {number}", updated_at=at(number)), asked=100 + 10 * number)
        for number in range(4)
    ]
    outcomes = []
    for order in permutations(pages):
        row = mirror(*order)
        outcomes.append((row.display_name, row.remote_updated_at))
        QuerySet(Conversation).delete()

    assert set(outcomes) == {("name 3", at(3))}


def test_page_asked_for_before_a_delete_does_not_bring_the_conversation_back():
    row = mirror(answer(conversation()))
    mark_deleted(row, asked_at=at(149), received_at=at(150), by=Requester(), was_ours=True)

    assert verdict_of(answer(conversation(updated_at=at(140)), asked=149)) is Verdict.SKIPPED
    assert Conversation.objects.get().deleted_at == at(150)


def test_tombstone_seen_alive_later_is_restored():
    row = mirror(answer(conversation()))
    set_columns(row, deleted_at=at(150), mirrored_at=at(150), missing_since=at(140))

    assert verdict_of(answer(conversation(), asked=200)) is Verdict.RESTORED

    row.refresh_from_db()
    assert (row.deleted_at, row.missing_since, row.mirrored_at) == (None, None, at(201))


def test_deleting_twice_keeps_the_first_time():
    row = mirror(answer(conversation()))
    mark_deleted(row, asked_at=at(149), received_at=at(150), by=Requester(), was_ours=True)
    mark_deleted(row, asked_at=at(149), received_at=at(160), by=Requester(), was_ours=True)

    assert Conversation.objects.get().deleted_at == at(150)


def test_missing_row_that_is_listed_again_is_live_and_keeps_its_time():
    row = mirror(answer(conversation()))
    mark_missing(row, asked_at=at(110), received_at=at(111))
    assert Conversation.objects.missing().get().state == "missing"

    assert verdict_of(answer(conversation(), asked=200)) is Verdict.REAPPEARED

    row.refresh_from_db()
    assert (row.state, row.missing_since, row.mirrored_at) == ("live", None, at(101))


def test_missing_row_that_answers_for_its_id_is_unlisted():
    row = mirror(answer(conversation()))
    mark_missing(row, asked_at=at(110), received_at=at(111))

    assert verdict_of(answer(conversation(), asked=200, listed=False)) is Verdict.REAPPEARED
    assert verdict_of(answer(conversation(), asked=300, listed=False)) is Verdict.UNCHANGED

    row.refresh_from_db()
    assert (row.state, row.missing_since, row.confirmed_at) == ("unlisted", at(111), at(201))
    assert Conversation.objects.live().get() == row


def test_page_asked_for_before_the_404_does_not_find_a_missing_row():
    row = mirror(answer(conversation()))
    mark_missing(row, asked_at=at(110), received_at=at(111))

    assert verdict_of(answer(conversation(), asked=111)) is Verdict.UNCHANGED
    assert Conversation.objects.get().missing_since == at(111)


def test_404_that_was_asked_for_before_the_row_was_mirrored_marks_nothing():
    row = mirror(answer(conversation()))

    mark_missing(row, asked_at=at(101), received_at=at(111))

    assert Conversation.objects.get().missing_since is None


def test_404_marks_only_the_row_that_was_asked_for():
    row = mirror(answer(conversation()))
    reconcile(answer(conversation(remote_id=f"conv_{1:026d}")), workspace="default")

    mark_missing(row, asked_at=at(110), received_at=at(111))

    assert list(Conversation.objects.filter(missing_since=at(111))) == [row]


def test_404_does_not_mark_a_tombstone_or_a_row_that_is_missing_already():
    row = mirror(answer(conversation()))
    for columns in ({"deleted_at": at(105)}, {"deleted_at": None, "missing_since": at(106)}):
        set_columns(row, **columns)
        before = mirrored_values(row)

        mark_missing(row, asked_at=at(110), received_at=at(111))

        row.refresh_from_db()
        assert mirrored_values(row) == before


@pytest.mark.parametrize(
    ("columns", "count"),
    [
        pytest.param({}, 1, id="missing"),
        pytest.param({"confirmed_at": at(130)}, 1, id="found before"),
        pytest.param({"confirmed_at": at(160)}, 0, id="found since"),
        pytest.param({"mirrored_at": at(160)}, 0, id="mirrored since"),
        pytest.param({"missing_since": None}, 0, id="no longer missing"),
        pytest.param({"deleted_at": at(155)}, 0, id="deleted already"),
    ],
)
def test_404_of_a_confirmation_counts_only_for_a_row_that_no_later_answer_showed(columns: dict[str, Any], count: int):
    row = mirror(answer(conversation()))
    set_columns(row, **{"missing_since": at(120), **columns})
    before, run = mirrored_values(Conversation.objects.get()), SyncRun.objects.create(workspace="default", mode="full")

    assert mark_gone([row], asked_at=at(150), received_at=at(170), run=run) == count

    gone = {"deleted_at": at(170), "mirrored_at": at(170)} if count else {}
    assert mirrored_values(Conversation.objects.get()) == before | gone


def test_row_of_another_workspace_with_the_same_id_stays_missing():
    for workspace in ("default", "other"):
        reconcile(answer(conversation()), workspace=workspace)
    QuerySet(Conversation).update(missing_since=at(120))

    unmark("default", [REMOTE_ID], since=at(110))

    assert list(Conversation.objects.filter(missing_since=None).values_list("workspace", flat=True)) == ["default"]


def test_404_for_an_unlisted_row_makes_it_missing_again():
    row = mirror(answer(conversation()))
    set_columns(row, missing_since=at(120), confirmed_at=at(130))

    mark_missing(row, asked_at=at(200), received_at=at(201))

    row.refresh_from_db()
    assert (row.state, row.missing_since) == ("missing", at(120))


def test_row_that_moves_under_our_hands_is_compared_again():
    mirror(answer(conversation()))
    attempts = []

    def rename_once(plan: Plan) -> None:
        attempts.append(plan)
        if len(attempts) == 1:
            QuerySet(Conversation).update(display_name="moved")

    reconcile(answer(conversation(updated_at=at(5)), asked=200), workspace="default", fence=rename_once)

    assert len(attempts) == 2
    assert Conversation.objects.get().remote_updated_at == at(5)


def test_fingerprint_is_not_stored_in_a_row_that_has_changed_since_the_comparison():
    """Only the fingerprint differed, so the row is not compared again."""
    mirror(answer(conversation()))
    renamed = answer(conversation(updated_at=at(5), display_name="renamed"), asked=300, listed=False)
    page = replace(answer(conversation(), asked=200), fingerprints={REMOTE_ID: 1})

    def rename(_plan: Plan) -> None:
        mirror(renamed)

    reconcile(page, workspace="default", fence=rename)

    row = Conversation.objects.get()
    assert (row.display_name, row.mirrored_at, row.fingerprint) == ("renamed", at(301), None)


def test_rows_that_never_stand_still_are_given_up():
    before = mirrored_values(mirror(answer(conversation())))
    names = iter("abcdef")

    def rename(_plan: Plan) -> None:
        QuerySet(Conversation).update(display_name=next(names))

    with pytest.raises(MirrorContended):
        reconcile(answer(conversation(updated_at=at(5)), asked=200), workspace="default", fence=rename)

    assert mirrored_values(Conversation.objects.get()) == before


def test_nobody_waits_for_locks_longer_than_for_ten_seconds(monkeypatch):
    mirror(answer(conversation()))
    attempts: list[Plan] = []
    monkeypatch.setattr(reconciling, "MAX_SECONDS", -1)

    def meet_a_lock(plan: Plan) -> None:
        attempts.append(plan)
        raise MirrorMoved

    with pytest.raises(MirrorContended):
        reconcile(
            answer(conversation(updated_at=at(5)), asked=200), workspace="default", fence=meet_a_lock, attempts=10
        )

    assert len(attempts) == 1


def test_row_that_comes_to_rest_after_a_while_is_written_by_the_patient():
    mirror(answer(conversation()))
    names = iter("abcdefgh")

    def rename(_plan: Plan) -> None:
        if name := next(names, None):
            QuerySet(Conversation).update(display_name=name)

    newer = answer(conversation(updated_at=at(5), display_name="New"), asked=200)
    reconcile(newer, workspace="default", fence=rename, attempts=10)

    assert Conversation.objects.get().display_name == "New"


def test_insert_that_collides_is_compared_again():
    attempts = []

    def insert_once(plan: Plan) -> None:
        attempts.append(plan)
        if len(attempts) == 1:
            _insert(conversation())

    plan = reconcile(answer(conversation()), workspace="default", fence=insert_once)

    assert len(attempts) == 2
    assert plan.counts == {Verdict.CREATED: 1}


def test_insert_that_collides_after_the_row_was_pruned_is_compared_again():
    """A tombstone is restored in Orq: ``orq_prune`` deletes the row, and another writer inserts it again."""
    row = mirror(answer(conversation()))
    set_columns(row, deleted_at=at(150), mirrored_at=at(150))
    writers = iter([lambda: QuerySet(Conversation).delete(), lambda: _insert(conversation())])

    reconcile(answer(conversation(), asked=200), workspace="default", fence=lambda plan: next(writers, list)())

    assert Conversation.objects.get().deleted_at is None


def test_insert_that_keeps_colliding_is_an_error():
    with pytest.raises(IntegrityError):
        reconcile(answer(conversation()), workspace="default", fence=lambda plan: _insert(conversation()))


def test_statements_for_a_page_of_new_changed_and_unchanged(statements):
    ids = [f"conv_{number:026d}" for number in range(30)]
    listed = [conversation(remote_id=id_) for id_ in ids]
    reconcile(answer(*listed[:20]), workspace="default")
    page = listed[:10] + [replace(each, updated_at=at(7)) for each in listed[10:20]] + listed[20:]

    with statements() as executed:
        plan = reconcile(answer(*page, asked=200), workspace="default")

    assert plan.counts == {Verdict.UNCHANGED: 10, Verdict.UPDATED: 10, Verdict.CREATED: 10}
    assert len(executed) <= 5  # compare, lock, insert, re-read, update


@pytest.mark.skipif("not connection.features.has_select_for_update", reason="SQLite locks the whole database instead")
def test_rows_about_to_change_are_locked(statements):
    mirror(answer(conversation()))
    with statements() as executed:
        mirror(answer(conversation(updated_at=at(5)), asked=200))

    assert any("FOR UPDATE" in sql or "FOR NO KEY UPDATE" in sql for sql in executed)


def test_transaction_of_a_verb_begins_with_a_write(statements):
    """In SQLite a transaction that begins with a read cannot always write later."""
    mirror(answer(conversation()))
    with statements() as executed:
        reconcile(answer(conversation(updated_at=at(5)), asked=200, listed=False), workspace="default")

    assert [sql.split()[0] for sql in executed][:2] == ["SELECT", "UPDATE"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    # no NUL and no lone surrogates: these are refused before they come here
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text("abc", max_size=3), children, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.dictionaries(st.text("xyz", max_size=4), json_values, max_size=4))
def test_mirroring_twice_writes_nothing_whatever_the_json(extra: dict[str, Any]):
    QuerySet(Conversation).delete()
    mirror(answer(conversation(extra=extra, metadata=extra)))

    assert verdict_of(answer(conversation(extra=extra, metadata=extra), asked=200)) is Verdict.UNCHANGED


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time: nothing comes between")
def test_rename_committed_between_comparison_and_write_is_not_overwritten():
    mirror(answer(conversation()))
    page = answer(conversation(updated_at=at(5), display_name="from the page"), asked=200)
    fences = []

    def rename_elsewhere(_plan: Plan) -> None:
        fences.append(1)
        if len(fences) > 1:
            return
        newer = answer(conversation(updated_at=at(9), display_name="renamed"), asked=201, listed=False)
        in_thread(lambda: reconcile(newer, workspace="default")).join()

    plan = reconcile(page, workspace="default", fence=rename_elsewhere)

    assert Conversation.objects.get().display_name == "renamed"
    assert plan.counts == {Verdict.SKIPPED: 1}


def _insert(remote: Any) -> None:
    row = Conversation(
        workspace="default",
        remote_id=remote.remote_id,
        display_name="collides",
        remote_created_at=at(0),
        remote_updated_at=at(0),
        mirrored_at=at(0),
    )
    QuerySet(Conversation).bulk_create([row])


@pytest.mark.parametrize(
    ("before", "after"), [(True, 1), (0, False), ([1], [True]), ({"on": False}, {"on": 0})], ids=str
)
def test_truth_and_number_are_different_values(before, after):
    mirror(answer(conversation(metadata={"flag": before})))

    assert verdict_of(answer(conversation(metadata={"flag": after}), asked=200)) is Verdict.UPDATED
