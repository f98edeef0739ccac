"""Several conversations deleted one by one, with an outcome for each."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..mirror import delete_conversation
from ..models import Conversation
from .failures import FAILURES, concerns_all


@dataclass(kw_only=True)
class Deletion:
    """What became of each conversation."""

    deleted: list[Conversation] = field(default_factory=list)
    gone_before: list[Conversation] = field(default_factory=list)
    """Already known as deleted, so Orq was not asked."""
    failed: list[tuple[Conversation, Exception]] = field(default_factory=list)
    untried: list[Conversation] = field(default_factory=list)
    """Left alone after a failure that they would have met as well."""


def delete_each(conversations: Iterable[Conversation]) -> Deletion:
    outcome = Deletion()
    for conversation in conversations:
        if conversation.deleted_at is not None:
            outcome.gone_before.append(conversation)
        elif outcome.failed and concerns_all(outcome.failed[-1][1]):
            outcome.untried.append(conversation)
        else:
            _delete(conversation, outcome)
    return outcome


def _delete(conversation: Conversation, outcome: Deletion) -> None:
    try:
        delete_conversation(conversation, interactive=True)
    except FAILURES as error:
        outcome.failed.append((conversation, error))
    else:
        outcome.deleted.append(conversation)
