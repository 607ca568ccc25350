"""A service of its own for a test: database, folders, broker, and processes that can be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).resolve().parent / "standins"
POSTGRES = os.environ.get("CERES_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("CERES_TEST_REDIS", "redis://127.0.0.1:6379/13")
PATIENCE = 120.0
"""Seconds after which a test gives up waiting."""

MAKE_JOBS = """
import django; django.setup()
from ceres.models import Entry, Job, Run
run = Run.objects.create(label="2026-11", engine_version="0", settings={}, settings_hash="0", archive="public")
for number in range(COUNT):
    entry = Entry.objects.create(key=f"9abc_{number:04d}", pdb_id="9abc", emdb_id=f"EMD-{number:04d}")
    Job.objects.create(entry=entry, run=run, archive="public")
"""
RING = """
import django; django.setup()
from ceres.models import Job
from ceres.pipeline.schedule import enqueue
for _ in range(TIMES):
    for job in Job.objects.all():
        enqueue(job.pk)
"""
JOBS = """
SELECT entry.key, job.state, job.stage, job.attempt, job.code, job.lease_owner
FROM ceres_job job JOIN ceres_entry entry ON entry.id = job.entry_id ORDER BY job.id
"""
COUNTS = "SELECT (SELECT count(*) FROM ceres_result), (SELECT count(*) FROM ceres_artifact)"


RUN_MODULE = """
import runpy, signal, sys
# A test run in the background ignores Ctrl-C, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass
class Service:
    """Processes of one service, and what its tables say."""

    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def python(self, code: str) -> str:
        command = [sys.executable, "-W", "error", "-c", code]
        return subprocess.run(command, env=self.environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "django", *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    def make_jobs(self, count: int) -> None:
        """Make a run with so many waiting jobs."""
        self.python(MAKE_JOBS.replace("COUNT", str(count)))

    def ring(self, times: int) -> None:
        """Send so many messages for every job."""
        self.python(RING.replace("TIMES", str(times)))

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"process-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_MODULE, *command],
            env=self.environment,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        options = ("--queues", "small,large", "--concurrency", "2", "--without-mingle", "--without-gossip")
        return self.start("celery", "--app", "ceres.celery", "worker", *options)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and its children as a power cut would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database without going through the service."""
        url = self.environment["DATABASE_URL"]
        connection: Any = psycopg.connect(url) if url else sqlite3.connect(self.var / "ceres.sqlite3", timeout=30)
        with contextlib.closing(connection):
            return list(connection.execute(statement).fetchall())

    def state(self) -> dict[str, Any]:
        """Return the jobs and the numbers of results and artifacts."""
        names = ("entry__key", "state", "stage", "attempt", "code", "lease_owner")
        jobs = [dict(zip(names, row, strict=True)) for row in self.query(JOBS)]
        ((results, artifacts),) = self.query(COUNTS)
        return {"jobs": jobs, "results": results, "artifacts": artifacts}

    def refinements(self) -> list[str]:
        """Keys of the pairs in the order in which refinements began."""
        path = self.var / "refined.log"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until:
                logs = "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("process-*.log")))
                pytest.fail(f"{what} did not happen: {self.state()}\n{logs}")
            time.sleep(0.1)

    def wait_until_done(self, *, reaping: bool = False) -> None:
        """Wait until all jobs are published; `reaping` stands for the schedule that calls the reaper each minute."""

        def done() -> bool:
            if reaping:
                self.manage("reap")
            return all(job["state"] == "published" for job in self.state()["jobs"])

        self.wait_for("the end of the run", done)

    def hang_once(self) -> None:
        """Let the next refinement hang."""
        (self.var / "hang").touch()

    def hanging_process(self) -> int:
        """Wait until a refinement hangs; return its process."""
        path = self.var / "hanging"
        self.wait_for("the refinement", lambda: path.exists() and path.read_text() != "")
        return int(path.read_text())


def _postgres_database() -> Iterator[str]:
    try:
        connection = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL server for the tests ({str(error).splitlines()[0]})")
    name = f"ceres_resilience_{os.getpid()}"
    with connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
        yield POSTGRES.rpartition("/")[0] + f"/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def broker() -> Iterator[str]:
    """URL of an empty Redis database that belongs to the tests."""
    client = redis.Redis.from_url(REDIS)
    try:
        client.ping()
    except redis.ConnectionError as error:
        pytest.skip(f"no Redis server for the tests ({error})")
    client.flushdb()
    yield REDIS
    client.flushdb()
    client.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database; "" for SQLite in the service's folder."""
    if request.param == "sqlite":
        yield ""
    else:
        yield from _postgres_database()


def _environment(folder: Path, database: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "slow_settings",
        "PYTHONPATH": os.pathsep.join([str(STANDINS), str(ROOT)]),
        "CERES_VAR": str(folder / "var"),
        "CERES_LEASE_SECONDS": "120",
        "CERES_BROKER_URL": "",
        "DATABASE_URL": database,
        "LOG_LEVEL": "INFO",
    }


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with empty tables."""
    service = Service(folder := tmp_path_factory.mktemp("migrated"), _environment(folder, ""))
    service.manage("migrate", "--verbosity", "0")
    return service.var / "ceres.sqlite3"


@pytest.fixture
def lone_service(database: str, migrated: Path, tmp_path: Path) -> Iterator[Service]:
    """A service without a broker."""
    service = Service(tmp_path, _environment(tmp_path, database))
    service.var.mkdir()
    if database:
        service.manage("migrate", "--verbosity", "0")
    else:
        shutil.copy(migrated, service.var)
    yield service
    for process in service.processes:
        if process.poll() is None:
            service.kill(process)


@pytest.fixture
def service(lone_service: Service, broker: str) -> Service:
    """A service with a broker."""
    lone_service.environment["CERES_BROKER_URL"] = broker
    return lone_service
