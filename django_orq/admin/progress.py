"""How far something is, on a page whose script asks for it anew."""

from collections.abc import Mapping

from django.http import HttpResponse, JsonResponse

from ..sync.report import Extent
from .base import OrqAdmin, Row


class ProgressAdmin(OrqAdmin[Row]):
    """Brings the script to the pages."""

    class Media:
        js = ("django_orq/progress.js",)


def answer_progress(extent: Extent, *, is_finished: bool, text: str, fields: Mapping[str, str]) -> HttpResponse:
    """For the script; ``fields`` are texts by the ``data-field`` of the elements that show them."""
    value = extent.done if extent.total else None
    return JsonResponse(
        {"finished": is_finished, "value": value, "max": extent.total, "text": text, "fields": {**fields}}
    )
