"""The deployment files name what exists: commands, settings, files. They cannot be run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from config.env import Env

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OWN_IMAGES = {"web", "worker", "beat", "shipper", "migrate", "migrate_telemetry"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]


def test_every_process_of_an_installation_is_there_and_is_a_command(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "build" in service} == OWN_IMAGES
    assert {services[name]["command"][0] for name in OWN_IMAGES} <= set(get_commands())


def test_only_settings_that_exist_are_set(services: dict[str, Any]) -> None:
    known = {name.upper() for name in Env.model_fields} | {"FORWARDED_ALLOW_IPS"}  # the latter is uvicorn's own
    for name in OWN_IMAGES:
        assert set(services[name]["environment"]) <= known


def test_processes_that_trace_share_the_spool_of_the_shipper(services: dict[str, Any]) -> None:
    assert len({tuple(services[name]["volumes"]) for name in OWN_IMAGES}) == 1


def test_what_is_mounted_and_copied_exists(services: dict[str, Any]) -> None:
    mounted = [v.split(":")[0] for service in services.values() for v in service.get("volumes", []) if v[0] == "."]
    assert all((DEPLOY / path).exists() for path in mounted)
    lines = [line.split() for line in (DEPLOY / "Dockerfile").read_text().splitlines()]
    copied = {words[1] for words in lines if words[:1] == ["COPY"]}
    assert all((DEPLOY.parent / path).exists() for path in copied)
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied == allowed
