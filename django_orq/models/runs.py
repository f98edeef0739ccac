"""Sync runs: walks through a workspace's list, with their checkpoints and counters."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField
from .work import Work


class SyncRun(Work):
    """One walk through a workspace's list, with the checkpoint from which it resumes."""

    class Mode(models.TextChoices):
        INCREMENTAL = "incremental", _("Fetch new")
        FULL = "full", _("Full sync")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        WAITING = "waiting", _("waiting")
        PAUSED = "paused", _("paused")
        # In lower case, because the labels also appear in sentences: “Sync run 5 (full): completed 1 hour ago.”
        SUCCEEDED = "succeeded", _("completed")
        PARTIAL = "partial", _("completed with problems")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    class Phase(models.TextChoices):
        WALK = "walk", _("reading Orq’s list")
        CONFIRM = "confirm", _("checking missing conversations")

    class Approval(models.TextChoices):
        """Why a run was stopped for review."""

        MASS_DELETE = "mass_delete", _("more conversations are missing than may be deleted without a review")
        NO_CANARY = "no_canary", _("no conversation that is known to exist could be found in Orq")
        WORKSPACE = "workspace_doubted", _("the API key and base URL may belong to another workspace")

    class Wait(models.TextChoices):
        RETRY_AFTER = "retry_after", _("Orq asked us to wait")
        PACE = "pace", _("the limit of requests per minute set for this site is reached")
        BACKOFF = "backoff", _("Orq has problems or cannot be reached")
        DATABASE = "database", _("the database has problems or cannot be reached")
        BUDGET = "budget", _("its time budget is used up")

    workspace = BytewiseCharField(_("workspace"), max_length=100)
    mode = models.CharField(_("mode"), max_length=20, choices=Mode)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.QUEUED)
    phase = models.CharField(_("step"), max_length=20, choices=Phase, default=Phase.WALK)
    slot = BytewiseCharField(max_length=130, null=True, unique=True, editable=False)
    """``workspace:mode`` while the run is unfinished, so that there is at most one unfinished run of each."""

    intervals = models.JSONField(default=list, editable=False)
    """Parts of the list that are read independently of each other; ``sync.intervals`` describes them."""
    cursor = BytewiseCharField(max_length=64, null=True, editable=False)
    """The last missing conversation that was confirmed."""
    head_id = BytewiseCharField(
        _("newest conversation"), max_length=64, null=True, help_text=_("The newest Orq id when the run started.")
    )
    stop_id = BytewiseCharField(
        _("stops at"), max_length=64, null=True, help_text=_("The run ends here: earlier runs have read the rest.")
    )
    """An incremental run ends with the first page that reaches this id or an older one."""
    reached_end = models.BooleanField(_("reached the end"), default=False)
    """Whether the walk has reached the end of the list, or for an incremental run its ``stop_id``."""
    is_complete = models.BooleanField(
        _("complete"),
        default=False,
        help_text=_("All conversations up to the newest one were read, by this run or by earlier ones."),
    )
    """Whether this run, together with the earlier runs that it builds on, has read the whole list from ``head_id``."""
    out_of_place = models.JSONField(default=list, editable=False)
    """Ids that the list showed out of order. They do not count as missing on the page where they belong by age."""
    ended_early = models.BooleanField(_("list ended early"), default=False)
    mirrored_before = models.PositiveBigIntegerField(_("mirrored before the run"), default=0)

    requests = models.PositiveBigIntegerField(_("requests to Orq"), default=0)
    pages = models.PositiveBigIntegerField(_("pages read"), default=0)
    seen = models.PositiveBigIntegerField(_("read"), default=0)
    created = models.PositiveBigIntegerField(_("created"), default=0)
    updated = models.PositiveBigIntegerField(_("updated"), default=0)
    unchanged = models.PositiveBigIntegerField(_("unchanged"), default=0)
    restored = models.PositiveBigIntegerField(
        _("restored"), default=0, help_text=_("Conversations that were marked as deleted, but exist in Orq.")
    )
    skipped = models.PositiveBigIntegerField(
        _("local copy was newer"), default=0, help_text=_("Conversations that were changed here during the run.")
    )
    outdated = models.PositiveBigIntegerField(
        _("Orq’s list was out of date"),
        default=0,
        help_text=_("Conversations for which Orq’s list had older values. The newer ones were kept."),
    )
    """Items that the list showed with an older ``updatedAt`` than a response that we had received before."""
    rejected = models.PositiveBigIntegerField(_("rejected"), default=0, help_text=_("Items that cannot be mirrored."))
    missing = models.PositiveBigIntegerField(
        _("missing"),
        default=0,
        help_text=_("Conversations that this run marked as missing, because Orq’s list omits them."),
    )
    unlisted = models.PositiveBigIntegerField(
        _("unlisted"),
        default=0,
        help_text=_("Missing conversations that this run found in Orq by their id for the first time."),
    )
    """Missing rows that were found by their id for the first time."""
    looked_up = models.PositiveBigIntegerField(default=0, editable=False)
    """How many missing or unlisted conversations were retrieved by their ids."""
    tombstoned = models.PositiveBigIntegerField(
        _("deleted"), default=0, help_text=_("Missing ones that Orq no longer has.")
    )
    to_approve = models.PositiveBigIntegerField(
        _("needed approval"), default=0, help_text=_("Missing conversations when the run was stopped for review.")
    )
    needs_approval = models.CharField(_("needs approval for"), max_length=20, choices=Approval, default="", blank=True)
    approvals = models.JSONField(_("approvals"), default=list, editable=False)
    """A list of ``{"reason", "by", "at", "to_approve"}``; ``at`` is in ISO 8601, ``to_approve`` as the field was."""
    confirm_until = models.DateTimeField(null=True, editable=False)
    """When the walk ended. Rows that went missing later are left to the next full run."""

    queued_at = models.DateTimeField(_("queued"), auto_now_add=True)
    checkpoint = models.PositiveBigIntegerField(default=0, editable=False)
    """How many checkpoints were saved. A worker writes only if it knows this number."""
    checkpoint_at = models.DateTimeField(_("last progress"), null=True)

    wait = models.CharField(_("waiting because"), max_length=20, choices=Wait, default="", blank=True)
    failures = models.PositiveIntegerField(default=0, editable=False)
    """Failures since the last checkpoint, not counting those for which Orq said how long to wait."""
    malformed = models.PositiveIntegerField(default=0, editable=False)
    """Malformed responses in a row."""
    batch = models.PositiveIntegerField(default=100, editable=False)
    """How many missing rows are confirmed together; after an interrupted batch the number is reduced for a while."""
    crashes = models.PositiveIntegerField(default=0, editable=False)
    """Workers that died since the last checkpoint."""
    budget_until = models.DateTimeField(null=True, editable=False)
    """When the time budget of the current call ends; ``None`` without a budget."""

    class Meta:
        verbose_name = _("sync run")
        verbose_name_plural = _("sync runs")
        permissions = (("run_sync", _("Can start, pause, resume, approve and cancel sync runs")),)

    def __str__(self) -> str:
        return f"#{self.pk} {self.workspace} {self.get_mode_display()}"

    def is_approved(self, *reasons: str) -> bool:
        """Return whether a user approved the run for one of these reasons."""
        return any(approval["reason"] in reasons for approval in self.approvals)
