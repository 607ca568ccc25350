"""Take up the jobs of workers that are no more."""

from __future__ import annotations

from typing import Any

from ceres.management.base import OperatorCommand
from ceres.pipeline import leases
from ceres.tasks import reap


class Command(OperatorCommand):
    help = "Give the jobs of dead workers back to the queue and, if there is a broker, fill the queues."

    def handle(self, *_args: Any, **_options: Any) -> None:
        leases.reap_dead_processes()
        returned, failed = reap()
        self.stdout.write(f"{returned} jobs wait again, {failed} failed.")
