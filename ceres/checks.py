"""Django system checks of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import Error, Tags, register

if TYPE_CHECKING:
    from django.core.checks.messages import CheckMessage


@register(Tags.security, deploy=True)
def tasks_have_workers(**_: Any) -> list[CheckMessage]:
    """Refuse a deployment in which web requests could run refinements in their own process."""
    if settings.DEBUG or not settings.CELERY_TASK_ALWAYS_EAGER or settings.CERES_ALLOW_EAGER:
        return []
    return [
        Error(
            "There is no broker: tasks would run inside the process that asks for them.",
            hint="Set CERES_BROKER_URL (redis://…) and start workers, or allow it with CERES_ALLOW_EAGER=1.",
            id="ceres.E001",
        )
    ]
