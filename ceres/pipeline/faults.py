"""Codes of failures that say nothing about the entry."""

from __future__ import annotations

INTERNAL_ERROR = "internal_error"
WORK_MISSING = "work_missing"
WORKER_LOST = "worker_lost"
MEMORY_LIMIT = "memory_limit"
OUR_FAULTS = frozenset({INTERNAL_ERROR, WORK_MISSING, WORKER_LOST, MEMORY_LIMIT})
