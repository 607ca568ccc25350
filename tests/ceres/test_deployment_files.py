"""docker-compose.yml and the Dockerfile agree with the settings and with each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
OURS = ("migrate", "web", "worker-small", "worker-large", "beat")
THEIRS = {"postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"}, "redis": set()}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


def test_every_variable_is_one_that_the_settings_read(compose: dict[str, Any]) -> None:
    for name in OURS:
        unknown = set(compose["services"][name]["environment"]) - settings.ENVIRONMENT
        assert not unknown, f"{name} sets {unknown}"
    for name, known in THEIRS.items():
        assert set(compose["services"][name].get("environment", {})) == known


def test_every_variable_of_the_dockerfile_is_one_that_the_settings_read() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    named = set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", text)) | set(re.findall(r"^ENV\s+([A-Z_]+)", text, flags=re.M))
    assert named == {"SECRET_KEY", "CERES_COLLECT_STATIC"}
    assert named <= settings.ENVIRONMENT


def test_the_readme_variables_exist() -> None:
    for path in (ROOT / "README.md", ROOT / "Makefile"):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        unknown = set(re.findall(r"\bCERES_[A-Z_]+[A-Z]\b", text)) - settings.ENVIRONMENT
        assert not unknown, f"{path.name} names {unknown}"


def test_services_are_those_of_the_architecture(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*OURS, *THEIRS}


def test_every_lasting_service_has_a_health_check_and_restarts(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name != "migrate":
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
            assert service["restart"] == "unless-stopped", name


def test_volumes_and_secrets_are_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        for name, value in service.get("environment", {}).items():
            if name.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], name
            assert not re.search(r"://[^/]*:[^/]*@", value), f"{name} holds a password"
    assert "secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_volumes_belong_to_the_user_of_the_image(compose: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    owned = re.search(r"chown ceres (.+)", text)
    assert owned
    folders = {str(Path("/ceres") / name) for name in owned[1].split()}
    for name in OURS:
        mounted = {volume.partition(":")[2] for volume in compose["services"][name].get("volumes", ())}
        assert mounted <= folders, f"{name} can't write {mounted - folders}"


def test_workers_listen_to_the_queues_of_the_settings(compose: dict[str, Any]) -> None:
    listened = set()
    for name in ("worker-small", "worker-large"):
        command = compose["services"][name]["command"]
        listened |= set(command[command.index("--queues") + 1].split(","))
    assert listened == {queue.name for queue in settings.CELERY_TASK_QUEUES}


def test_the_image_runs_as_an_ordinary_user() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["ceres"]
    assert lines.index("USER ceres") < next(number for number, line in enumerate(lines) if line.startswith("CMD"))


def test_everything_that_the_image_copies_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]}
    assert copied == allowed
