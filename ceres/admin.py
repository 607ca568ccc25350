"""The operators' view of the tables. Published rows can only be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from ceres.models import Artifact, Entry, Job, Result, Run


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that come from the pipeline, never from a form."""

    def has_add_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody adds rows."""
        return False

    def has_change_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody changes rows."""
        return False

    def has_delete_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        """Nobody deletes rows."""
        return False


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Map–model pairs."""

    list_display = ["key", "title", "resolution", "atoms", "chains", "latest_result"]
    search_fields = ["key", "pdb_id", "emdb_id", "title"]
    list_select_related = ["latest_result__entry", "latest_result__run"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs."""

    list_display = ["label", "kind", "engine_version", "archive", "created_at"]


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs: what is stuck, and why."""

    list_display = ["entry", "run", "stage", "state", "code", "attempt", "lease_owner", "lease_until", "doing"]
    list_filter = ["state", "stage", "code", "size_class", "run"]
    search_fields = ["entry__key", "code", "message"]
    list_select_related = ["entry", "run"]


@admin.register(Result)
class ResultAdmin(ReadOnlyAdmin):
    """Published results."""

    list_display = ["entry", "run", "verdict", "better", "worse", "published_at"]
    list_filter = ["verdict", "run"]
    search_fields = ["entry__key"]
    list_select_related = ["entry", "run"]


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """Files of results."""

    list_display = ["storage_key", "kind", "size", "sha256"]
    list_filter = ["kind"]
    search_fields = ["storage_key"]
