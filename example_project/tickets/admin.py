from django.contrib import admin

from .models import Ticket


@admin.register(Ticket)
class TicketAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # only the stubs take one
    list_display = ("subject", "conversation")
    list_select_related = ("conversation",)
    search_fields = ("subject", "conversation__display_name")
    autocomplete_fields = ("conversation",)
