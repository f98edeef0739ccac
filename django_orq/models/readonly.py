"""The base of models whose rows only this app writes."""

from typing import Any, NoReturn, TypeVar

from django.db import models

M = TypeVar("M", bound="ReadOnlyModel")


class ReadOnlyQuerySet(models.QuerySet[M]):
    """Refuses to write."""

    def create(self, **kwargs: Any) -> NoReturn:
        self.model.refuse("create_conversation")

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.model.refuse("create_conversation")

    def update(self, **kwargs: Any) -> NoReturn:
        self.model.refuse("rename_conversation")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.model.refuse("rename_conversation")

    def delete(self) -> NoReturn:
        self.model.refuse("delete_conversation")

    for _write in (create, bulk_create, update, bulk_update, delete):
        _write.alters_data = True  # type: ignore[attr-defined]  # templates must not call them
    delete.queryset_only = True  # type: ignore[attr-defined]  # as in Django: no manager method
    del _write


class ReadOnlyModel(models.Model):
    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.refuse("create_conversation" if self._state.adding else "rename_conversation")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.refuse("delete_conversation")

    save.alters_data = True  # type: ignore[attr-defined]  # templates must not call it
    delete.alters_data = True  # type: ignore[attr-defined]  # templates must not call it

    @classmethod
    def refuse(cls, verb: str) -> NoReturn:
        """Raise ``StrayWrite``, which names the function of ``django_orq.mirror`` to call instead."""
        raise NotImplementedError
