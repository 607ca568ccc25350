"""Is the service well? For load balancers and container health checks, and for the operator's alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.db.models import Min
from django.http import JsonResponse
from django.utils import timezone

from ceres.models import Job

if TYPE_CHECKING:
    from django.http import HttpRequest


def health(_request: HttpRequest) -> JsonResponse:
    """Answer 200 with the age of the longest waiting job in seconds, or 503 without a database."""
    now = timezone.now()
    try:
        oldest = Job.objects.due(now).aggregate(oldest=Min("updated_at"))["oldest"]
    except DatabaseError:
        return JsonResponse({"database": False}, status=503)
    waited = round((now - oldest).total_seconds()) if oldest else 0
    response = JsonResponse({"database": True, "longest_wait_s": waited})
    response["Cache-Control"] = "no-store"
    return response
