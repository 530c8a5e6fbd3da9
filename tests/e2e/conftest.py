"""What the end-to-end tests share: the built programs and the real models.

IMP_BUILD names another build directory than build/, IMP_MODELS another models directory than ~/.cache/imp.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("IMP_BUILD", ROOT / "build"))


def run_cli(*arguments, **options):
    """Runs imp-cli without a terminal; the caller looks at the exit code."""
    command = [BUILD / "bin/imp-cli", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, **options)


def answer(*arguments):
    """Standard output of a run that must succeed."""
    result = run_cli(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def fetch(name):
    """The path of a real model; skips the test only when it cannot be fetched."""
    result = subprocess.run([ROOT / "scripts/fetch_model.sh", name], capture_output=True, text=True, timeout=600)
    if result.returncode != 0:
        pytest.skip(f"{name} cannot be fetched: {result.stderr.strip()[-300:]}")
    return Path(result.stdout.strip())


@pytest.fixture(scope="session")
def smollm2():
    return fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def gemma3():
    return fetch("gemma-3-270m")
