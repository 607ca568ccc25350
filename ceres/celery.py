"""The Celery app: a doorbell. What is to be done stands in the database."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceres.settings")

app = Celery("ceres")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
