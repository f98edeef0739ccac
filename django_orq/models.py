"""The mirror: ``Conversation`` rows, the runs that fill them, and the payloads that could not be mirrored."""

from typing import Any, ClassVar, NoReturn

from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, InternalError, OperationalError, models, router
from django.db.models import Case, Q, Value, When
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .exceptions import StrayWrite, explain
from .fields import BytewiseCharField, PlainJSONEncoder
from .payloads import is_blank
from .wording import number

__all__ = ["Conversation", "ConversationState", "Operation", "OperationItem", "RejectedPayload", "SyncRun"]


class ConversationState(models.TextChoices):
    LIVE = "live", _("live")
    UNLISTED = "unlisted", _("unlisted")
    MISSING = "missing", _("missing")
    DELETED = "deleted", _("deleted")


_ALIVE = Q(deleted_at=None)
_UNCONFIRMED = Q(missing_since__isnull=False, confirmed_at=None)


def _refuse(verb: str) -> NoReturn:
    raise StrayWrite(
        "Conversation rows mirror Orq, so only answers of Orq change them. "
        f"Call django_orq.mirror.{verb}() to change the conversation itself."
    )


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def live(self) -> "ConversationQuerySet":
        """What Orq has, as far as we know; conversations that its list leaves out included."""
        return self.filter(_ALIVE).exclude(_UNCONFIRMED)

    def missing(self) -> "ConversationQuerySet":
        """Not found lately, and neither confirmed as alive nor as deleted."""
        return self.filter(_ALIVE & _UNCONFIRMED)

    def deleted(self) -> "ConversationQuerySet":
        return self.filter(deleted_at__isnull=False)

    def create(self, **kwargs: Any) -> NoReturn:
        _refuse("create_conversation")

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_conversation")

    def update(self, **kwargs: Any) -> NoReturn:
        _refuse("rename_conversation")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("rename_conversation")

    def delete(self) -> NoReturn:
        _refuse("delete_conversation")

    for _write in (create, bulk_create, update, bulk_update, delete):
        _write.alters_data = True  # type: ignore[attr-defined]  # templates must not call them
    delete.queryset_only = True  # type: ignore[attr-defined]  # as Django has it
    del _write


class Conversation(models.Model):
    """One conversation of an Orq workspace, as Orq last described it.

    Join your own models to it with a foreign key. Its columns are written by answers of Orq alone; the verbs in
    ``django_orq.mirror`` change the conversation there.
    """

    workspace = BytewiseCharField(_("workspace"), max_length=100, editable=False)
    remote_id = BytewiseCharField(_("Orq id"), max_length=64, editable=False)
    display_name = models.TextField(_("name"))
    previous_name = models.TextField(null=True, editable=False)  # noqa: DJ001 # absent is not ""
    """The name before the newest one: what a rename replaced is known although a sync was faster."""
    remote_created_at = models.DateTimeField(_("created"), editable=False)
    remote_updated_at = models.DateTimeField(_("updated"), editable=False)
    created_by_id = models.TextField(_("created by"), null=True, editable=False)  # noqa: DJ001 # absent is not ""
    updated_by_id = models.TextField(_("updated by"), null=True, editable=False)  # noqa: DJ001 # absent is not ""
    metadata = models.JSONField(_("metadata"), encoder=PlainJSONEncoder, null=True, editable=False)
    extra = models.JSONField(_("other fields"), encoder=PlainJSONEncoder, default=dict, editable=False)
    mirrored_at = models.DateTimeField(
        _("last news"), editable=False, help_text=_("When Orq last told something new about this conversation.")
    )
    missing_since = models.DateTimeField(_("missing since"), null=True, editable=False)
    confirmed_at = models.DateTimeField(
        _("found by its id"),
        null=True,
        editable=False,
        help_text=_("When Orq was last asked for this very conversation, and had it."),
    )
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)
    indexed_state = models.GeneratedField(
        expression=Case(
            When(deleted_at__isnull=False, then=Value(ConversationState.DELETED.value)),
            When(missing_since=None, then=Value(ConversationState.LIVE.value)),
            When(confirmed_at=None, then=Value(ConversationState.MISSING.value)),
            default=Value(ConversationState.UNLISTED.value),
        ),
        output_field=models.CharField(max_length=20),
        db_persist=True,
    )
    """``state`` as the database works it out when it writes the row, for the indexes of the list."""

    objects: ClassVar[models.Manager["Conversation"]] = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = (
            models.UniqueConstraint(fields=("workspace", "remote_id"), name="django_orq_conversation_unique"),
        )
        indexes = (
            # The list by age, in one workspace and in all of them: what is not deleted, one state, everything (for one
            # workspace the constraint's index has that). However rare what is listed may be, nothing else is read.
            models.Index(fields=("workspace", "deleted_at", "remote_id"), name="django_orq_conv_listed"),
            models.Index(fields=("deleted_at", "remote_id", "id"), name="django_orq_conv_kept"),
            models.Index(fields=("workspace", "indexed_state", "remote_id"), name="django_orq_conv_of_state"),
            models.Index(fields=("indexed_state", "remote_id", "id"), name="django_orq_conv_state"),
            models.Index(fields=("remote_id", "id"), name="django_orq_conv_newest"),
            # What programs ask for again and again: what was updated since they asked last.
            models.Index(fields=("workspace", "remote_updated_at"), name="django_orq_conv_updated"),
        )

    def __str__(self) -> str:
        return str(self.remote_id) if is_blank(self.display_name) else self.display_name

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_conversation" if self._state.adding else "rename_conversation")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("delete_conversation")

    save.alters_data = True  # type: ignore[attr-defined]  # templates must not call it
    delete.alters_data = True  # type: ignore[attr-defined]  # templates must not call it

    @property
    def is_scrubbed(self) -> bool:
        """Whether its name was taken out of its tombstone (``manage.py orq_prune --scrub-older-than``)."""
        return self.deleted_at is not None and not self.display_name

    @property
    def state(self) -> ConversationState:
        if self.deleted_at is not None:
            return ConversationState.DELETED
        if self.missing_since is None:
            return ConversationState.LIVE
        return ConversationState.MISSING if self.confirmed_at is None else ConversationState.UNLISTED


class Work(models.Model):
    """Something that processes take turns at: who has it, until when, and the message that calls for the next one."""

    token = models.CharField(max_length=32, default="", editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    walker = models.CharField(_("worked on by"), max_length=150, default="", blank=True)
    """The process that claimed it last: ``process 4711 on host``."""
    resume_at = models.DateTimeField(_("goes on at"), null=True)
    enqueued_at = models.DateTimeField(null=True, editable=False)
    """When the newest message was enqueued, or may be worked off at the earliest."""
    ticket = models.CharField(max_length=32, default="", editable=False)
    """What that message holds: only its slice enqueues the next, so that there is one chain of them."""
    trouble_since = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    error_code = models.CharField(_("error code"), max_length=50, default="", blank=True)
    error_params = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)

    class Meta:
        abstract = True

    @property
    def is_finished(self) -> bool:
        return self.finished_at is not None

    @property
    def seconds(self) -> float | None:
        """How long it took, from its first slice to its end; ``None`` while that is not known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def error_message(self) -> str:
        """What went wrong, for people; empty if nothing did."""
        return explain(self.error_code, self.error_params) if self.error_code else ""


class SyncRun(Work):
    """One walk through a workspace's list, with the checkpoint to go on from."""

    class Mode(models.TextChoices):
        INCREMENTAL = "incremental", _("incremental")
        FULL = "full", _("full")
        CONFIRM = "confirm", _("confirmation")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        WAITING = "waiting", _("waiting")
        PAUSED = "paused", _("paused")
        SUCCEEDED = "succeeded", _("succeeded")
        PARTIAL = "partial", _("partial")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    class Phase(models.TextChoices):
        WALK = "walk", _("goes through Orq’s list")
        CONFIRM = "confirm", _("asks Orq for what is missing")

    class Hold(models.TextChoices):
        """Why missing rows were not confirmed."""

        MASS_DELETE = "mass_delete", _("so many are missing at once that it may be a mistake")
        NO_CANARY = "no_canary", _("not even conversations that must be there were found")

    class Wait(models.TextChoices):
        ASKED = "asked", _("Orq asked us to wait")
        PACE = "pace", _("Orq is asked only so many times a minute from here")
        BACKOFF = "backoff", _("Orq is in trouble or out of reach")
        BUDGET = "budget", _("its budget of time or pages is used up")

    workspace = BytewiseCharField(_("workspace"), max_length=100)
    mode = models.CharField(_("kind"), max_length=20, choices=Mode)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.QUEUED)
    phase = models.CharField(_("step"), max_length=20, choices=Phase, default=Phase.WALK)
    slot = BytewiseCharField(max_length=130, null=True, unique=True, editable=False)
    """``workspace:mode`` while the run is unfinished, so that there is one of each at most."""

    cursor = BytewiseCharField(
        _("place in the list"), max_length=64, null=True, help_text=_("The Orq id after which the next page begins.")
    )
    head_id = BytewiseCharField(
        _("newest conversation"),
        max_length=64,
        null=True,
        help_text=_("The first Orq id of the list when this began."),
    )
    stop_id = BytewiseCharField(
        _("ends at"), max_length=64, null=True, help_text=_("From this Orq id on, everything was known before.")
    )
    """An incremental run ends with the first page that reaches at or below this id."""
    reached_end = models.BooleanField(_("reached the end"), default=False)
    """Of what it walks through: the list, or for an incremental run its stop."""
    is_complete = models.BooleanField(
        _("looked at everything"),
        default=False,
        help_text=_("All up to the newest conversation was looked at, by this run or those before it."),
    )
    """Whether everything up to ``head_id`` has been walked through, by this run and those it rests on."""
    rests_on = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    """The unfinished first full run at whose head this incremental run stopped."""
    continues = models.ForeignKey(
        "self",
        verbose_name=_("goes on with"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="continued_by",
        help_text=_("A person decided that what this run had left open should go on."),
    )
    """The run that was held, and that a person let go with this one."""
    met_out_of_place = models.JSONField(default=list, editable=False)
    """Ids that the list showed elsewhere than their age says: their own place need not hold them."""
    is_vouched = models.BooleanField(_("workspace vouched for by a person"), default=False)
    fell_short = models.BooleanField(_("list ended before the known"), default=False)
    mirrored_before = models.PositiveBigIntegerField(_("mirrored before"), default=0)

    requests = models.PositiveBigIntegerField(_("requests to Orq"), default=0)
    pages = models.PositiveBigIntegerField(_("pages of Orq’s list"), default=0)
    seen = models.PositiveBigIntegerField(_("looked at"), default=0)
    created = models.PositiveBigIntegerField(_("new"), default=0)
    updated = models.PositiveBigIntegerField(_("changed"), default=0)
    unchanged = models.PositiveBigIntegerField(_("unchanged"), default=0)
    restored = models.PositiveBigIntegerField(
        _("back again"), default=0, help_text=_("Were marked as deleted here, and Orq has them after all.")
    )
    skipped = models.PositiveBigIntegerField(
        _("newer here"), default=0, help_text=_("Were changed from here meanwhile, so the newer state was kept.")
    )
    outdated = models.PositiveBigIntegerField(
        _("listed as they were"),
        default=0,
        help_text=_("Orq’s list shows an older state than Orq told before, so the newer one was kept."),
    )
    """Items that the list showed older than an answer from before this run did."""
    rejected = models.PositiveBigIntegerField(
        _("unreadable"), default=0, help_text=_("What Orq sent could not be understood, so it was not taken over.")
    )
    missing = models.PositiveBigIntegerField(
        _("missing"),
        default=0,
        help_text=_("Orq’s list did not show them any more, so they are looked up one by one."),
    )
    unlisted = models.PositiveBigIntegerField(
        _("found though not listed"), default=0, help_text=_("Were missing, and Orq has them after all.")
    )
    """Missing rows that turned out to be alive, for the first time."""
    tombstoned = models.PositiveBigIntegerField(
        _("deleted"), default=0, help_text=_("Were missing, and Orq does not know them any more.")
    )
    held = models.PositiveBigIntegerField(
        _("held back"), default=0, help_text=_("Are missing, and were left for a person to decide.")
    )
    hold = models.CharField(_("held back because"), max_length=20, choices=Hold, default="", blank=True)

    queued_at = models.DateTimeField(_("queued"), auto_now_add=True)
    checkpoint_at = models.DateTimeField(_("last page"), null=True)

    wait = models.CharField(_("waits because"), max_length=20, choices=Wait, default="", blank=True)
    failures = models.PositiveIntegerField(default=0, editable=False)
    """Failed requests since the last checkpoint, those aside after which Orq said how long to wait."""
    malformed = models.PositiveIntegerField(default=0, editable=False)
    """Malformed answers running."""
    batch = models.PositiveIntegerField(default=100, editable=False)
    """Missing rows that are confirmed together; fewer after a batch that Orq cut off."""
    deaths = models.PositiveIntegerField(default=0, editable=False)
    """Walkers that died since the last checkpoint."""
    budget_pages = models.PositiveBigIntegerField(null=True, editable=False)
    """How many pages in all the run may have when the budget of the last call is spent."""
    budget_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("sync run")
        verbose_name_plural = _("sync runs")
        permissions = (("run_sync", _("Can start, let go on and cancel sync runs")),)

    def __str__(self) -> str:
        return f"#{self.pk} {self.workspace} {self.get_mode_display()}"


class Operation(Work):
    """What a person ordered for several conversations at once, worked off item by item; or a single creation."""

    class Verb(models.TextChoices):
        CREATE = "create", _("create")
        RENAME = "rename", _("rename")
        DELETE = "delete", _("delete")
        REFRESH = "refresh", _("refresh")

    verb = models.CharField(_("action"), max_length=20, choices=Verb)
    form_token = models.CharField(max_length=32, null=True, unique=True, editable=False)  # noqa: DJ001 # absent is not ""
    """Of the form that ordered it: a form that is sent twice orders once."""
    ordered_by = models.CharField(_("ordered by"), max_length=255, default="", blank=True)
    """The name of a user. No foreign key: users may live in another database."""
    ordered_by_pk = models.CharField(max_length=255, default="", editable=False)
    retried_by = models.CharField(_("tried again by"), max_length=255, default="", blank=True)
    retried_by_pk = models.CharField(max_length=255, default="", editable=False)
    ordered_at = models.DateTimeField(_("ordered"), auto_now_add=True)
    total = models.PositiveIntegerField(_("conversations"), default=0)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")

    def __str__(self) -> str:
        text = ngettext(
            "#%(number)s: %(verb)s %(count)s conversation", "#%(number)s: %(verb)s %(count)s conversations", self.total
        )
        return text % {"number": self.pk, "verb": self.get_verb_display(), "count": number(self.total)}


class OperationItem(models.Model):
    """What was ordered for one conversation, and what became of it."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        SENT = "sent", _("being done")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown")

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.SET_NULL, related_name="+")
    """The one that it is about; for a creation, the one that came of it."""
    workspace = BytewiseCharField(_("workspace"), max_length=100)
    name = models.TextField(_("name"))
    """What the conversation was called when this was ordered; for a creation, what it is to be called."""
    wanted = models.TextField(_("new name"), default="", blank=True)
    expected_updated_at = models.DateTimeField(null=True, editable=False)
    """The conversation's ``remote_updated_at`` as the person saw it."""
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    error_code = models.CharField(max_length=50, default="", editable=False)
    error_params = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    note = models.JSONField(default=dict, editable=False)
    """What else a person should know: the name that was ``replaced``, or that has ``overtaken`` the new one."""
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("item of an operation")
        verbose_name_plural = _("items of operations")
        indexes = (models.Index(fields=("operation", "state"), name="django_orq_item_state"),)

    def __str__(self) -> str:
        return self.name


class WorkspaceWait(models.Model):
    """What binds everyone who uses a workspace's key: a wait that Orq asked for, and the pace of background work."""

    workspace = BytewiseCharField(_("workspace"), max_length=100, unique=True)
    until = models.DateTimeField(_("until"), null=True)
    next_turn_at = models.DateTimeField(_("next turn"), null=True)

    class Meta:
        verbose_name = _("wait")
        verbose_name_plural = _("waits")

    def __str__(self) -> str:
        return str(self.workspace)


class RejectedPayload(models.Model):
    """What Orq sent and the mirror could not take, and why; one row for each id, or digest where there is no id."""

    workspace = BytewiseCharField(_("workspace"), max_length=100)
    key = BytewiseCharField(_("Orq id or fingerprint"), max_length=64)
    reason = models.TextField(_("reason"))
    excerpt = models.TextField(_("what Orq sent"))
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    resolved_at = models.DateTimeField(
        _("settled"), null=True, help_text=_("Since when it could be taken over, or was not listed any more.")
    )
    last_run = models.ForeignKey(
        SyncRun,
        verbose_name=_("last met by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="rejected_payloads",
    )

    class Meta:
        verbose_name = _("unreadable entry")
        verbose_name_plural = _("unreadable entries")
        constraints = (models.UniqueConstraint(fields=("workspace", "key"), name="django_orq_rejectedpayload_unique"),)

    def __str__(self) -> str:
        """Of a digest, only so much as an id is long."""
        return Truncator(self.key).chars(31)


DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError)
"""What may pass. ``InternalError``: among others, a database that can only be read, as while servers change places."""


def write_database() -> str:
    """The alias of the database that the mirror is written to; ours are always read from there too."""
    alias: str = router.db_for_write(Conversation)
    return alias
