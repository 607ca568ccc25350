"""Settings are read from the environment; nonsense is refused with the name of the variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from ceres import environment

ROOT = Path(__file__).resolve().parents[2]
SHOW = """
import json
from ceres import settings as s
print(json.dumps({name: getattr(s, name) for name in dir(s) if name.isupper()}, default=str))
"""


def python(code: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, "CERES_VAR": str(tmp_path / "var"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def settings_with(tmp_path: Path, **variables: str) -> dict[str, object]:
    answer = python(SHOW, tmp_path, **variables)
    assert answer.returncode == 0, answer.stderr
    values: dict[str, object] = json.loads(answer.stdout)
    return values


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    values = settings_with(tmp_path)
    database = values["DATABASES"]["default"]
    assert (database["ENGINE"], database["NAME"]) == ("django.db.backends.sqlite3", str(tmp_path / "var" / "ceres.sqlite3"))
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert values["CELERY_TASK_ALWAYS_EAGER"] is True
    assert values["DEBUG"] is False
    assert values["STORAGES"]["artifacts"]["OPTIONS"]["location"] == str(tmp_path / "var" / "artifacts")


def test_the_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first, second = settings_with(tmp_path), settings_with(tmp_path)
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert len(str(first["SECRET_KEY"])) > 60
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_a_deployment(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "key").write_text("k" * 60 + "\n")
    values = settings_with(
        tmp_path,
        DATABASE_URL="postgres://ceres@db:5433/ceres",
        DATABASE_PASSWORD_FILE=str(tmp_path / "password"),
        SECRET_KEY_FILE=str(tmp_path / "key"),
        CERES_BROKER_URL="redis://redis:6379/0",
        CERES_STORAGE="s3://bucket/some/prefix",
        CERES_S3_ENDPOINT="http://minio:9000",
        CERES_TASK_TIME_LIMIT="1000",
        CERES_HTTPS="yes",
        ALLOWED_HOSTS="ceres.example.org, www.example.org",
    )
    database = values["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["USER"], database["PASSWORD"], database["HOST"], database["PORT"]) == ("ceres", "s3cret", "db", 5433)
    assert database["OPTIONS"]["pool"]["max_size"] == 8
    assert values["SECRET_KEY"] == "k" * 60
    assert values["CELERY_TASK_ALWAYS_EAGER"] is False
    assert values["CELERY_BROKER_TRANSPORT_OPTIONS"] == {"visibility_timeout": 1100}
    options = values["STORAGES"]["artifacts"]["OPTIONS"]
    assert (options["bucket_name"], options["location"], options["endpoint_url"]) == (
        "bucket",
        "some/prefix",
        "http://minio:9000",
    )
    assert values["ALLOWED_HOSTS"] == ["ceres.example.org", "www.example.org"]
    assert values["SESSION_COOKIE_SECURE"] is values["CSRF_COOKIE_SECURE"] is values["SECURE_SSL_REDIRECT"] is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("CERES_LEASE_SECONDS", "0"),
        ("CERES_THREADS", "-1"),
        ("CERES_DEMO_PORT", "eighty"),
        ("CERES_STORAGE", "ftp://somewhere"),
        ("DATABASE_URL", "mysql://root@db/ceres"),
        ("SECRET_KEY_FILE", "/nowhere/key"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    answer = python(SHOW, tmp_path, **{name: value})
    assert answer.returncode == 1
    last = answer.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    assert name in last


def test_relative_folders_count_from_the_repository(tmp_path: Path) -> None:
    values = settings_with(tmp_path, CERES_ARCHIVE="tests/data", CERES_CACHE="var/elsewhere")
    assert values["CERES_ARCHIVE"] == str(ROOT / "tests" / "data")
    assert values["CERES_CACHE"] == str(ROOT / "var" / "elsewhere")
    assert settings_with(tmp_path, CERES_ARCHIVE="https://example.org/archive")["CERES_ARCHIVE"] == "https://example.org/archive"
    assert settings_with(tmp_path, CERES_ARCHIVE="public")["CERES_ARCHIVE"] == "public"
    values = settings_with(tmp_path, CERES_ARCHIVE="tests/data, https://example.org/archive", CERES_EMDB_DIR="tests")
    assert values["CERES_ARCHIVE"] == f"{ROOT / 'tests' / 'data'},https://example.org/archive"
    assert values["CERES_EMDB_DIR"] == str(ROOT / "tests")


CHECK = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "ceres.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check", "--deploy", "--tag", "security", "--fail-level", "ERROR"])
"""


def test_a_deployment_without_workers_has_to_be_wanted(tmp_path: Path) -> None:
    refused = python(CHECK, tmp_path)
    assert refused.returncode == 1
    assert "ceres.E001" in refused.stderr
    for wanted in ({"CERES_ALLOW_EAGER": "1"}, {"CERES_BROKER_URL": "redis://localhost/0"}, {"DEBUG": "1"}):
        assert python(CHECK, tmp_path, **wanted).returncode == 0


def test_a_deployment_behind_https_gives_no_warnings(tmp_path: Path) -> None:
    answer = python(CHECK.replace("ERROR", "WARNING"), tmp_path, CERES_HTTPS="1", CERES_BROKER_URL="redis://localhost/0")
    assert answer.returncode == 0, answer.stderr


def test_names_that_were_read_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERES_TEST_FLAG", "on")
    assert environment.flag("CERES_TEST_FLAG") is True
    assert environment.integer("CERES_TEST_NUMBER", 7) == 7
    assert environment.names("CERES_TEST_NAMES", "a, ,b") == ["a", "b"]
    assert environment.secret("CERES_TEST_SECRET", "x") == "x"
    assert {"CERES_TEST_FLAG", "CERES_TEST_NUMBER", "CERES_TEST_SECRET_FILE"} <= environment.names_read()
    monkeypatch.setenv("CERES_TEST_NUMBER", "seven")
    with pytest.raises(ImproperlyConfigured, match="CERES_TEST_NUMBER"):
        environment.integer("CERES_TEST_NUMBER", 7)
