import django.core.serializers.json
import django.db.models.deletion
import django_orq.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(default="", editable=False, max_length=32)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("worker", models.CharField(blank=True, default="", max_length=150, verbose_name="worker")),
                ("resume_at", models.DateTimeField(null=True, verbose_name="resumes at")),
                ("enqueued_at", models.DateTimeField(editable=False, null=True)),
                ("ticket", models.CharField(default="", editable=False, max_length=32)),
                ("trouble_since", models.DateTimeField(editable=False, null=True)),
                ("started_at", models.DateTimeField(null=True, verbose_name="started")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                ("error_code", models.CharField(blank=True, default="", max_length=50, verbose_name="error code")),
                (
                    "error_params",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                ("workspace", django_orq.models.fields.BytewiseCharField(max_length=100, verbose_name="workspace")),
                (
                    "mode",
                    models.CharField(
                        choices=[("incremental", "Fetch new"), ("full", "Full sync")],
                        max_length=20,
                        verbose_name="mode",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("waiting", "waiting"),
                            ("paused", "paused"),
                            ("succeeded", "completed"),
                            ("partial", "completed with problems"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="queued",
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                (
                    "phase",
                    models.CharField(
                        choices=[("walk", "reading Orq’s list"), ("confirm", "checking missing conversations")],
                        default="walk",
                        max_length=20,
                        verbose_name="step",
                    ),
                ),
                (
                    "slot",
                    django_orq.models.fields.BytewiseCharField(editable=False, max_length=130, null=True, unique=True),
                ),
                ("intervals", models.JSONField(default=list, editable=False)),
                ("cursor", django_orq.models.fields.BytewiseCharField(editable=False, max_length=64, null=True)),
                (
                    "head_id",
                    django_orq.models.fields.BytewiseCharField(
                        help_text="The newest Orq id when the run started.",
                        max_length=64,
                        null=True,
                        verbose_name="newest conversation",
                    ),
                ),
                (
                    "stop_id",
                    django_orq.models.fields.BytewiseCharField(
                        help_text="The run ends here: earlier runs have read the rest.",
                        max_length=64,
                        null=True,
                        verbose_name="stops at",
                    ),
                ),
                ("reached_end", models.BooleanField(default=False, verbose_name="reached the end")),
                (
                    "is_complete",
                    models.BooleanField(
                        default=False,
                        help_text="All conversations up to the newest one were read, by this run or by earlier ones.",
                        verbose_name="complete",
                    ),
                ),
                ("out_of_place", models.JSONField(default=list, editable=False)),
                ("ended_early", models.BooleanField(default=False, verbose_name="list ended early")),
                ("mirrored_before", models.PositiveBigIntegerField(default=0, verbose_name="mirrored before the run")),
                ("requests", models.PositiveBigIntegerField(default=0, verbose_name="requests to Orq")),
                ("pages", models.PositiveBigIntegerField(default=0, verbose_name="pages read")),
                ("seen", models.PositiveBigIntegerField(default=0, verbose_name="read")),
                ("created", models.PositiveBigIntegerField(default=0, verbose_name="created")),
                ("updated", models.PositiveBigIntegerField(default=0, verbose_name="updated")),
                ("unchanged", models.PositiveBigIntegerField(default=0, verbose_name="unchanged")),
                (
                    "restored",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Conversations that were marked as deleted, but exist in Orq.",
                        verbose_name="restored",
                    ),
                ),
                (
                    "skipped",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Conversations that were changed here during the run.",
                        verbose_name="local copy was newer",
                    ),
                ),
                (
                    "outdated",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Conversations for which Orq’s list had older values. The newer ones were kept.",
                        verbose_name="Orq’s list was out of date",
                    ),
                ),
                (
                    "rejected",
                    models.PositiveBigIntegerField(
                        default=0, help_text="Items that cannot be mirrored.", verbose_name="rejected"
                    ),
                ),
                (
                    "missing",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Conversations that this run marked as missing, because Orq’s list omits them.",
                        verbose_name="missing",
                    ),
                ),
                (
                    "unlisted",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Missing conversations that this run found in Orq by their id for the first time.",
                        verbose_name="unlisted",
                    ),
                ),
                ("looked_up", models.PositiveBigIntegerField(default=0, editable=False)),
                (
                    "tombstoned",
                    models.PositiveBigIntegerField(
                        default=0, help_text="Missing ones that Orq no longer has.", verbose_name="deleted"
                    ),
                ),
                (
                    "to_approve",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Missing conversations when the run was stopped for review.",
                        verbose_name="needed approval",
                    ),
                ),
                (
                    "needs_approval",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("mass_delete", "more conversations are missing than may be deleted without a review"),
                            ("no_canary", "no conversation that is known to exist could be found in Orq"),
                            ("workspace_doubted", "the API key and base URL may belong to another workspace"),
                        ],
                        default="",
                        max_length=20,
                        verbose_name="needs approval for",
                    ),
                ),
                ("approvals", models.JSONField(default=list, editable=False, verbose_name="approvals")),
                ("confirm_until", models.DateTimeField(editable=False, null=True)),
                ("queued_at", models.DateTimeField(auto_now_add=True, verbose_name="queued")),
                ("checkpoint", models.PositiveBigIntegerField(default=0, editable=False)),
                ("checkpoint_at", models.DateTimeField(null=True, verbose_name="last progress")),
                (
                    "wait",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("retry_after", "Orq asked us to wait"),
                            ("pace", "the limit of requests per minute set for this site is reached"),
                            ("backoff", "Orq has problems or cannot be reached"),
                            ("database", "the database has problems or cannot be reached"),
                            ("budget", "its time budget is used up"),
                        ],
                        default="",
                        max_length=20,
                        verbose_name="waiting because",
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0, editable=False)),
                ("malformed", models.PositiveIntegerField(default=0, editable=False)),
                ("batch", models.PositiveIntegerField(default=100, editable=False)),
                ("crashes", models.PositiveIntegerField(default=0, editable=False)),
                ("budget_until", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "sync run",
                "verbose_name_plural": "sync runs",
                "permissions": (("run_sync", "Can start, pause, resume, approve and cancel sync runs"),),
            },
        ),
        migrations.CreateModel(
            name="WorkspaceWait",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "workspace",
                    django_orq.models.fields.BytewiseCharField(max_length=100, unique=True, verbose_name="workspace"),
                ),
                ("until", models.DateTimeField(null=True, verbose_name="until")),
                ("next_slot_at", models.DateTimeField(null=True, verbose_name="next slot")),
            ],
            options={
                "verbose_name": "wait",
                "verbose_name_plural": "waits",
            },
        ),
        migrations.CreateModel(
            name="Conversation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "workspace",
                    django_orq.models.fields.BytewiseCharField(
                        editable=False, max_length=100, verbose_name="workspace"
                    ),
                ),
                (
                    "remote_id",
                    django_orq.models.fields.BytewiseCharField(editable=False, max_length=64, verbose_name="Orq id"),
                ),
                ("display_name", models.TextField(verbose_name="name")),
                ("remote_created_at", models.DateTimeField(editable=False, verbose_name="created")),
                ("remote_updated_at", models.DateTimeField(editable=False, verbose_name="updated")),
                ("created_by_id", models.TextField(editable=False, null=True, verbose_name="created by")),
                ("updated_by_id", models.TextField(editable=False, null=True, verbose_name="updated by")),
                (
                    "metadata",
                    models.JSONField(
                        editable=False,
                        encoder=django_orq.models.fields.PlainJSONEncoder,
                        null=True,
                        verbose_name="metadata",
                    ),
                ),
                (
                    "extra",
                    models.JSONField(
                        default=dict,
                        editable=False,
                        encoder=django_orq.models.fields.PlainJSONEncoder,
                        verbose_name="other fields",
                    ),
                ),
                ("fingerprint", models.BigIntegerField(editable=False, null=True)),
                (
                    "mirrored_at",
                    models.DateTimeField(
                        editable=False,
                        help_text="When Orq last reported a change to this conversation.",
                        verbose_name="last change received",
                    ),
                ),
                ("missing_since", models.DateTimeField(editable=False, null=True, verbose_name="missing since")),
                (
                    "confirmed_at",
                    models.DateTimeField(
                        editable=False,
                        help_text="When Orq last returned it by its id.",
                        null=True,
                        verbose_name="last found by its id",
                    ),
                ),
                ("deleted_at", models.DateTimeField(editable=False, null=True, verbose_name="deleted")),
                (
                    "indexed_state",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(deleted_at__isnull=False, then=models.Value("deleted")),
                            models.When(missing_since=None, then=models.Value("live")),
                            models.When(confirmed_at=None, then=models.Value("missing")),
                            default=models.Value("unlisted"),
                        ),
                        output_field=models.CharField(max_length=20),
                    ),
                ),
            ],
            options={
                "verbose_name": "conversation",
                "verbose_name_plural": "conversations",
                "permissions": (("export_conversation", "Can export conversations and changes"),),
                "indexes": [
                    models.Index(fields=["workspace", "deleted_at", "remote_id"], name="django_orq_conv_listed"),
                    models.Index(fields=["workspace", "indexed_state", "remote_id"], name="django_orq_conv_of_state"),
                    models.Index(
                        fields=["workspace", "deleted_at", "remote_updated_at"], name="django_orq_conv_updated"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "remote_id"), name="django_orq_conv_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Operation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(default="", editable=False, max_length=32)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("worker", models.CharField(blank=True, default="", max_length=150, verbose_name="worker")),
                ("resume_at", models.DateTimeField(null=True, verbose_name="resumes at")),
                ("enqueued_at", models.DateTimeField(editable=False, null=True)),
                ("ticket", models.CharField(default="", editable=False, max_length=32)),
                ("trouble_since", models.DateTimeField(editable=False, null=True)),
                ("started_at", models.DateTimeField(null=True, verbose_name="started")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                ("error_code", models.CharField(blank=True, default="", max_length=50, verbose_name="error code")),
                (
                    "error_params",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "verb",
                    models.CharField(
                        choices=[
                            ("create", "create"),
                            ("rename", "rename"),
                            ("delete", "delete"),
                            ("refresh", "refresh"),
                        ],
                        max_length=20,
                        verbose_name="action",
                    ),
                ),
                ("form_token", models.CharField(editable=False, max_length=32, null=True, unique=True)),
                (
                    "requested_by",
                    models.CharField(blank=True, default="", max_length=255, verbose_name="requested by"),
                ),
                ("requested_by_pk", models.CharField(default="", editable=False, max_length=255)),
                ("retried_by", models.CharField(blank=True, default="", max_length=255, verbose_name="retried by")),
                ("requested_at", models.DateTimeField(auto_now_add=True, verbose_name="requested")),
                ("total", models.PositiveIntegerField(default=0, verbose_name="conversations")),
            ],
            options={
                "verbose_name": "operation",
                "verbose_name_plural": "operations",
                "indexes": [models.Index(fields=["finished_at"], name="django_orq_operation_finished")],
            },
        ),
        migrations.CreateModel(
            name="OperationItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", django_orq.models.fields.BytewiseCharField(max_length=100, verbose_name="workspace")),
                ("name", models.TextField(verbose_name="name")),
                ("new_name", models.TextField(blank=True, default="", verbose_name="new name")),
                ("expected_updated_at", models.DateTimeField(editable=False, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("sent", "in progress"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("unknown", "unknown"),
                        ],
                        default="pending",
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0, editable=False)),
                ("sent_at", models.DateTimeField(editable=False, null=True)),
                ("newest_row", models.BigIntegerField(editable=False, null=True)),
                ("error_code", models.CharField(default="", editable=False, max_length=50)),
                (
                    "error_params",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                ("note", models.JSONField(default=dict, editable=False)),
                (
                    "conversation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="django_orq.conversation",
                    ),
                ),
                (
                    "operation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="items", to="django_orq.operation"
                    ),
                ),
            ],
            options={
                "verbose_name": "operation item",
                "verbose_name_plural": "operation items",
                "indexes": [models.Index(fields=["operation", "state"], name="django_orq_item_state")],
            },
        ),
        migrations.CreateModel(
            name="RejectedPayload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", django_orq.models.fields.BytewiseCharField(max_length=100, verbose_name="workspace")),
                (
                    "key",
                    django_orq.models.fields.BytewiseCharField(
                        max_length=64, verbose_name="Orq id, or a checksum where there is none"
                    ),
                ),
                ("reason", models.TextField(verbose_name="reason")),
                ("excerpt", models.TextField(verbose_name="what Orq sent")),
                ("first_seen_at", models.DateTimeField(verbose_name="first seen")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                (
                    "resolved_at",
                    models.DateTimeField(
                        help_text="When the item was mirrored, or was no longer in Orq’s list.",
                        null=True,
                        verbose_name="resolved on",
                    ),
                ),
                (
                    "last_run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="rejected_payloads",
                        to="django_orq.syncrun",
                        verbose_name="last seen in run",
                    ),
                ),
            ],
            options={
                "verbose_name": "rejected item",
                "verbose_name_plural": "rejected items",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "key"), name="django_orq_rejectedpayload_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="ConversationChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", django_orq.models.fields.BytewiseCharField(max_length=100, verbose_name="workspace")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("renamed", "renamed"),
                            ("changed", "metadata changed"),
                            ("deleted", "deleted"),
                            ("restored", "restored"),
                        ],
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                ("old_name", models.TextField(null=True, verbose_name="old name")),
                ("new_name", models.TextField(null=True, verbose_name="new name")),
                ("fields", models.JSONField(default=list, verbose_name="changed metadata")),
                (
                    "origin",
                    models.CharField(
                        choices=[("here", "this site"), ("orq", "Orq")], max_length=10, verbose_name="origin"
                    ),
                ),
                (
                    "actor_id",
                    django_orq.models.fields.BytewiseCharField(
                        blank=True, default="", max_length=255, verbose_name="person"
                    ),
                ),
                ("actor_name", models.CharField(blank=True, default="", max_length=255)),
                ("remote_updated_at", models.DateTimeField(verbose_name="updated in Orq")),
                ("recorded_at", models.DateTimeField(verbose_name="recorded")),
                (
                    "conversation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
                        to="django_orq.conversation",
                        verbose_name="conversation",
                    ),
                ),
                (
                    "operation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="changes",
                        to="django_orq.operation",
                        verbose_name="operation",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="changes",
                        to="django_orq.syncrun",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "change",
                "verbose_name_plural": "changes",
                "indexes": [
                    models.Index(fields=["conversation", "recorded_at", "id"], name="django_orq_change_of_conv"),
                    models.Index(fields=["workspace", "recorded_at", "id"], name="django_orq_change_listed"),
                    models.Index(fields=["workspace", "kind", "recorded_at", "id"], name="django_orq_change_kind"),
                    models.Index(fields=["workspace", "origin", "recorded_at", "id"], name="django_orq_change_origin"),
                    models.Index(
                        fields=["workspace", "actor_id", "recorded_at", "id"], name="django_orq_change_actor"
                    ),
                    models.Index(fields=["run", "recorded_at", "id"], name="django_orq_change_of_run"),
                ],
            },
        ),
    ]
