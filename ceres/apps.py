"""The one Django app of the project."""

from __future__ import annotations

from django.apps import AppConfig


class CeresConfig(AppConfig):
    """Pipeline, website and API."""

    name = "ceres"
    verbose_name = "Ceres"

    def ready(self) -> None:
        """Make our Celery app the current one, and register the system checks."""
        from ceres import celery, checks  # noqa: F401  # need the app registry
