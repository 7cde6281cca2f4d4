"""What talks to models stands alone: no Django, and no vendor's SDK before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLATFORM = Path(__file__).resolve().parents[2] / "platform"


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PLATFORM, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_clients_prices_and_embeddings_import_no_django() -> None:
    modules = [
        "types",
        "events",
        "errors",
        "usage",
        "usage_extract",
        "pricing",
        "catalog",
        "embeddings",
        "minilm",
        "hashing",
        "clients.base",
        "clients.constrained",
        "clients.openai_chat",
        "clients.openai_responses",
        "clients.anthropic",
        "clients.google",
        "clients.scripted",
    ]
    found = imported_by("\n".join(f"import providers.{name}" for name in modules))
    assert "openai" in found
    assert not found & {"django", "celery", "channels"}


def test_no_sdk_is_imported_before_a_client_is_wanted() -> None:
    found = imported_by("import providers.clients.base, providers.pricing, providers.embeddings")
    assert not found & {"openai", "anthropic", "google", "genai_prices", "onnxruntime", "httpx2"}
