import pytest
from django.template import Context, Template

from django_orq.exceptions import StrayWrite
from django_orq.models import Conversation, RejectedPayload, SyncRun
from django_orq.store.reconcile import reconcile

from .values import REMOTE_ID, answer, at, conversation, set_columns

pytestmark = pytest.mark.django_db


@pytest.fixture
def row() -> Conversation:
    reconcile(answer(conversation()), workspace="default")
    return Conversation.objects.get()


STRAY_WRITES = {
    "create": (lambda row: Conversation.objects.create(workspace="w"), "create_conversation"),
    "get_or_create": (lambda row: Conversation.objects.get_or_create(workspace="w"), "create_conversation"),
    "bulk_create": (lambda row: Conversation.objects.bulk_create([Conversation()]), "create_conversation"),
    "save a new one": (lambda row: Conversation().save(), "create_conversation"),
    "save": (lambda row: row.save(), "rename_conversation"),
    "save one field": (lambda row: row.save(update_fields=["display_name"]), "rename_conversation"),
    "update": (lambda row: Conversation.objects.update(display_name="x"), "rename_conversation"),
    "update filtered": (lambda row: Conversation.objects.live().update(display_name="x"), "rename_conversation"),
    "bulk_update": (lambda row: Conversation.objects.bulk_update([row], ["display_name"]), "rename_conversation"),
    "delete": (lambda row: row.delete(), "delete_conversation"),
    "delete filtered": (lambda row: Conversation.objects.filter(pk=row.pk).delete(), "delete_conversation"),
}


@pytest.mark.parametrize("name", STRAY_WRITES)
def test_stray_write_is_refused_with_the_verb_to_call(row, name):
    write, verb = STRAY_WRITES[name]

    with pytest.raises(StrayWrite, match=verb) as refused:
        write(row)

    assert ("django_orq.testing.mirrored()" in str(refused.value)) is (verb == "create_conversation")
    assert Conversation.objects.get().display_name == row.display_name


def test_templates_cannot_call_what_writes(row):
    template = Template("{{ row.delete }}{{ row.save }}{{ rows.delete }}")

    assert template.render(Context({"row": row, "rows": Conversation.objects.all()})) == ""


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "live"),
        ({"missing_since": at(1)}, "missing"),
        ({"missing_since": at(1), "confirmed_at": at(2)}, "unlisted"),
        ({"deleted_at": at(3)}, "deleted"),
        ({"missing_since": at(1), "deleted_at": at(3)}, "deleted"),
    ],
)
def test_states_and_the_query_sets_agree(row, columns, state):
    set_columns(row, **columns)

    assert row.state == state
    found = {
        "live": Conversation.objects.live().exists(),
        "missing": Conversation.objects.missing().exists(),
        "deleted": Conversation.objects.deleted().exists(),
    }
    assert found == {
        "live": state in ("live", "unlisted"),
        "missing": state == "missing",
        "deleted": state == "deleted",
    }


def test_ids_are_compared_bytewise(row):
    assert not Conversation.objects.filter(remote_id=REMOTE_ID.upper()).exists()
    assert not Conversation.objects.filter(workspace="DEFAULT").exists()


def test_conversation_shows_its_name(row):
    assert str(row) == "Refund for order 1001"
    assert str(Conversation(display_name="", remote_id=REMOTE_ID)) == REMOTE_ID


def test_runs_and_refusals_say_what_they_are():
    run = SyncRun(pk=7, workspace="default", mode="full")

    assert str(run) == "#7 default Full sync"
    assert str(RejectedPayload(key="conv_1")) == "conv_1"


def test_error_of_a_run_is_composed_when_it_is_shown():
    run = SyncRun(error_code="cursor_ignored", error_params={"api_style": "snake"})

    assert "Check API_STYLE (now 'snake')" in run.error_message
    assert SyncRun().error_message == ""
