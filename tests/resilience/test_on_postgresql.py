"""The tests of the pipeline once more, on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = os.environ.get("CERES_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_the_pipeline_on_postgresql() -> None:
    try:
        psycopg.connect(POSTGRES, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL server for the tests ({str(error).splitlines()[0]})")
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        pytest.skip("this session runs on PostgreSQL already")
    files = [f"tests/ceres/pipeline/test_{name}.py" for name in ("models", "leases", "schedule", "plan", "advance")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not shared", *files]
    answer = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "DATABASE_URL": POSTGRES}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout[-6000:]
