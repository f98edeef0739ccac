import io

import pytest
from django.core.management import CommandError, call_command

from django_orq.management import pruning
from django_orq.management.commands import orq_prune as command
from django_orq.models import Conversation, SyncRun

from ..references.models import Reference
from ..values import tombstone
from ..walking import full_run
from .test_pruning import age, operation, rejected

pytestmark = pytest.mark.django_db(transaction=True)

ALL = (
    *("--runs-older-than", "90", "--operations-older-than", "90", "--rejected-older-than", "90"),
    *("--tombstones-older-than", "90", "--scrub-older-than", "90"),
)


def orq_prune(*arguments: str) -> list[str]:
    """Run the command; return its output lines."""
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
    Reference.objects.create(conversation=kept)
    rejected(gone.remote_id)
    rejected("of no tombstone", days=100)
    operation(gone, days=100)
    operation(Conversation.objects.live().get(), days=100)


@pytest.mark.parametrize(("apply", "done"), [((), "to delete"), (("--apply",), "deleted")], ids=["dry", "apply"])
def test_says_of_each_kind_what_it_does_or_would_do(filled, apply, done):
    lines = orq_prune(*ALL, *apply)

    assert lines[:7] == [
        f"names and metadata of deleted conversations: 2 {done}",
        f"operations on deleted conversations: 1 {done}",
        f"rejected items of deleted conversations: 1 {done}",
        f"deleted conversations: 1 {done}, 1 kept because they are needed or cannot be deleted",
        f"sync runs: 2 {done}, 1 kept because they are needed or cannot be deleted",
        f"operations: {1 if apply else 2} {done}",
        f"resolved rejected items: 1 {done}",
    ]
    assert lines[7:] == ([] if apply else ["Nothing was changed. To apply the changes, add --apply."])
    assert Conversation.objects.count() == (2 if apply else 3)


def test_only_what_is_named_is_pruned(filled):
    assert orq_prune("--operations-older-than", "90", "--apply") == ["operations: 2 deleted"]
    assert (Conversation.objects.count(), SyncRun.objects.count()) == (3, 3)


def test_one_workspace(filled):
    tombstone(1, days=100, workspace="research")

    lines = orq_prune("--workspace", "research", "--tombstones-older-than", "90", "--apply")

    assert lines == ["deleted conversations: 1 deleted"]
    assert not Conversation.objects.filter(workspace="research").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "specify --changes or an age"),
        (["--tombstones-older-than", "0"], "from 1 to 36,500"),
        (["--workspace", "other", "--runs-older-than", "90"], "no Orq workspace 'other'"),
    ],
)
def test_wrong_usage_exits_with_2_and_does_nothing(filled, arguments, message):
    with pytest.raises(CommandError, match=message) as refusal:
        orq_prune(*arguments, "--apply")

    assert refusal.value.returncode == 2
    assert Conversation.objects.count() == 3


def test_progress_is_told_every_few_seconds(filled, monkeypatch):
    monkeypatch.setattr(command, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(pruning, "BATCH", 1)

    assert orq_prune("--tombstones-older-than", "90", "--apply") == [
        "… deleted conversations: 1 deleted",
        "… deleted conversations: 1 deleted, 1 kept because they are needed or cannot be deleted",
        "deleted conversations: 1 deleted, 1 kept because they are needed or cannot be deleted",
    ]


def test_ctrl_c_leaves_what_was_done_and_exits_with_4(filled, monkeypatch):
    def interrupted(rows):
        yield [rows.first().pk]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pruning, "_batches", interrupted)
        with pytest.raises(CommandError, match="Run the command again to continue") as stopped:
            orq_prune("--scrub-older-than", "90", "--apply")

    assert stopped.value.returncode == 4
    assert Conversation.objects.filter(display_name="").count() == 1
    scrubbed, *_others = orq_prune("--scrub-older-than", "90", "--apply")
    assert scrubbed == "names and metadata of deleted conversations: 1 deleted"
