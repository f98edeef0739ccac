"""Sync runs: walks through a workspace's list, with their checkpoints and counters."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .fields import BytewiseCharField
from .work import Work


class SyncRun(Work):
    """One walk through a workspace's list, with the checkpoint to go on from."""

    class Mode(models.TextChoices):
        INCREMENTAL = "incremental", _("incremental")
        FULL = "full", _("full")

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

    class Approval(models.TextChoices):
        """Why a run was stopped for review."""

        MASS_DELETE = "mass_delete", _("so many are missing at once that it may be a mistake")
        NO_CANARY = "no_canary", _("not even conversations that must be there were found")
        WORKSPACE = "workspace_doubted", _("API key and base URL may belong to another workspace")

    class Wait(models.TextChoices):
        RETRY_AFTER = "retry_after", _("Orq asked us to wait")
        PACE = "pace", _("Orq is asked only so many times a minute from here")
        BACKOFF = "backoff", _("Orq is in trouble or out of reach")
        DATABASE = "database", _("the database is in trouble or out of reach")
        BUDGET = "budget", _("its budget of time is used up")

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
    """Whether all up to ``head_id`` has been walked through, by this run and the one at whose head it stopped."""
    out_of_place = models.JSONField(default=list, editable=False)
    """Ids that the list showed elsewhere than their age says: their own place need not hold them."""
    ended_early = models.BooleanField(_("list ended before the known"), default=False)
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
    to_approve = models.PositiveBigIntegerField(
        _("need approval"), default=0, help_text=_("Are missing, and are not deleted here until the run is approved.")
    )
    needs_approval = models.CharField(
        _("needs approval because"), max_length=20, choices=Approval, default="", blank=True
    )
    approvals = models.JSONField(_("approvals"), default=list, editable=False)
    """A list of ``{"reason", "by", "at", "to_approve"}``: who approved what, when (ISO 8601), and of how many rows."""
    confirm_until = models.DateTimeField(null=True, editable=False)
    """When the walk ended: rows that are missing since later are left to the next run."""

    queued_at = models.DateTimeField(_("queued"), auto_now_add=True)
    checkpoint_at = models.DateTimeField(_("last page"), null=True)

    wait = models.CharField(_("waits because"), max_length=20, choices=Wait, default="", blank=True)
    failures = models.PositiveIntegerField(default=0, editable=False)
    """Failed requests since the last checkpoint, those aside after which Orq said how long to wait."""
    malformed = models.PositiveIntegerField(default=0, editable=False)
    """Malformed answers running."""
    batch = models.PositiveIntegerField(default=100, editable=False)
    """Missing rows that are confirmed together; fewer after a batch that was cut off, for a while."""
    crashes = models.PositiveIntegerField(default=0, editable=False)
    """Walkers that died since the last checkpoint."""
    budget_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("sync run")
        verbose_name_plural = _("sync runs")
        permissions = (("run_sync", _("Can start, pause, resume, approve and cancel sync runs")),)

    def __str__(self) -> str:
        return f"#{self.pk} {self.workspace} {self.get_mode_display()}"

    def is_approved(self, *reasons: str) -> bool:
        """Whether a person approved it for one of these reasons."""
        return any(approval["reason"] in reasons for approval in self.approvals)
