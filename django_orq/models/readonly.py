"""The base of models whose rows only this app writes."""

from typing import Any, ClassVar, NoReturn, TypeVar

from django.db import models

from ..exceptions import StrayWrite

M = TypeVar("M", bound="ReadOnlyModel")

_IN_TESTS = {
    "create_conversation": " In tests, call django_orq.testing.mirrored() instead; "
    "see “Test your own project” in the documentation."
}


def _refused(verb: str, *, queryset_only: bool = False) -> Any:
    """A method of a model or of its query set that raises ``StrayWrite``."""

    def refuse(target: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise StrayWrite(getattr(target, "model", target).refusal.format(verb=verb, in_tests=_IN_TESTS.get(verb, "")))

    refuse.alters_data = True  # type: ignore[attr-defined]  # templates must not call it
    refuse.queryset_only = queryset_only  # type: ignore[attr-defined]  # as in Django: no manager method
    return refuse


class ReadOnlyQuerySet(models.QuerySet[M]):
    """Refuses to write."""

    create = bulk_create = _refused("create_conversation")
    update = bulk_update = _refused("rename_conversation")
    delete = _refused("delete_conversation", queryset_only=True)


class ReadOnlyModel(models.Model):
    refusal: ClassVar[str]
    """The message of ``StrayWrite``.

    ``{verb}`` is the function of ``django_orq.mirror`` to call instead, and ``{in_tests}`` what else tests can call.
    """

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        verb = "create_conversation" if self._state.adding else "rename_conversation"
        raise StrayWrite(self.refusal.format(verb=verb, in_tests=_IN_TESTS.get(verb, "")))

    save.alters_data = True  # type: ignore[attr-defined]  # templates must not call it
    delete = _refused("delete_conversation")
