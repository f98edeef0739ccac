import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_orq.management import tombstones
from django_orq.management.commands import orq_prune as command
from django_orq.models import Conversation, SyncRun

from ..references.models import Dependent
from ..values import tombstone
from ..walking import full_run
from .test_pruning import age, entry, operation, rejected

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]


def orq_prune(*arguments: str) -> list[str]:
    """The lines that it writes."""
    stdout = io.StringIO()
    call_command("orq_prune", *arguments, stdout=stdout, no_color=True)
    return stdout.getvalue().splitlines()


@pytest.fixture
def filled(remote) -> None:
    remote.add("Ticket")
    for _time in range(3):
        full_run()
    age(SyncRun.objects, days=100)
    gone, kept = tombstone(1, days=100), tombstone(2, days=100)
    Dependent.objects.create(conversation=kept)
    operation(gone, days=100)
    rejected(gone.remote_id, days=100)
    entry(gone, days=100)


ALL = (
    *("--runs-older-than", "90", "--operations-older-than", "90", "--rejected-older-than", "90"),
    *("--tombstones-older-than", "90", "--scrub-older-than", "90"),
)


def test_without_apply_it_says_what_it_would_do(filled):
    assert orq_prune(*ALL) == [
        "deleted conversations: 2 to scrub",
        "items of operations: 1 to scrub",
        "unreadable entries: 1 to scrub",
        "entries of the admin's history: 1 to scrub",
        "deleted conversations: 1 to delete, 1 kept, since something needs or refers to them",
        "sync runs: 2 to delete, 1 kept, since something needs or refers to them",
        "operations: 1 to delete",
        "settled unreadable entries: 1 to delete",
        "Nothing was changed. With --apply it is done.",
    ]
    assert Conversation.objects.count() == 3


def test_with_apply_it_does_it(filled):
    assert orq_prune(*ALL, "--apply") == [
        "deleted conversations: 2 scrubbed",
        "items of operations: 1 scrubbed",
        "unreadable entries: 1 scrubbed",
        "entries of the admin's history: 1 scrubbed",
        "deleted conversations: 1 deleted, 1 kept, since something needs or refers to them",
        "sync runs: 2 deleted, 1 kept, since something needs or refers to them",
        "operations: 1 deleted",
        "settled unreadable entries: 1 deleted",
    ]
    assert Conversation.objects.count() == 2


def test_only_what_is_named_is_pruned(filled):
    assert orq_prune("--operations-older-than", "90", "--apply") == ["operations: 1 deleted"]
    assert (Conversation.objects.count(), SyncRun.objects.count()) == (3, 3)


def test_what_is_younger_stays(filled):
    assert orq_prune("--tombstones-older-than", "101", "--apply") == ["deleted conversations: 0 deleted"]


def test_one_workspace(filled):
    tombstone(1, days=100, workspace="research")

    lines = orq_prune("--workspace", "research", "--tombstones-older-than", "90", "--apply")

    assert lines == ["deleted conversations: 1 deleted"]
    assert not Conversation.objects.filter(workspace="research").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what is to be pruned"),
        (["--apply"], "say what is to be pruned"),
        (["--tombstones-older-than", "0"], "from 1 to 36,500"),
        (["--scrub-older-than", "0"], "from 1 to 36,500"),
        (["--runs-older-than", "-1"], "from 1 to 36,500"),
        (["--workspace", "other", "--runs-older-than", "90"], "no Orq workspace 'other'"),
    ],
)
def test_wrong_usage_exits_with_2_and_does_nothing(filled, arguments, message):
    with pytest.raises(CommandError, match=message) as refusal:
        orq_prune(*arguments)

    assert refusal.value.returncode == 2
    assert Conversation.objects.count() == 3


def test_progress_is_told_every_few_seconds(filled, monkeypatch):
    monkeypatch.setattr(command, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(tombstones, "BATCH", 1)

    assert orq_prune("--tombstones-older-than", "90", "--apply") == [
        "… deleted conversations: 1 deleted",
        "… deleted conversations: 1 deleted, 1 kept, since something needs or refers to them",
        "deleted conversations: 1 deleted, 1 kept, since something needs or refers to them",
    ]


def test_ctrl_c_leaves_what_was_done_and_exits_with_4(filled, monkeypatch):
    monkeypatch.setattr(tombstones, "BATCH", 1)
    batches = tombstones.batches

    def interrupted(**options):
        yield next(batches(**options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tombstones, "batches", interrupted)
        with pytest.raises(CommandError, match="run it again to go on") as stopped:
            orq_prune("--scrub-older-than", "90", "--apply")

    assert stopped.value.returncode == 4
    assert Conversation.objects.filter(display_name="").count() == 1
    assert orq_prune("--scrub-older-than", "90", "--apply")[0] == "deleted conversations: 1 scrubbed"


def test_help_says_where_else_names_are():
    stdout = io.StringIO()
    parser = command.Command().create_parser("manage.py", "orq_prune")
    parser.print_help(stdout)

    assert "object_repr" in stdout.getvalue()
