import os
import runpy

import pytest

from scoreinv import _openmp


@pytest.fixture
def environment(monkeypatch):
    """What importing the package makes of these variables."""

    def imported(**given):
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        runpy.run_path(_openmp.__file__)
        return os.environ.get("GOMP_SPINCOUNT")

    return imported


def test_threads_soon_sleep_unless_the_user_said_otherwise(environment):
    assert environment() == "20000"
    assert environment(GOMP_SPINCOUNT="7") == "7"
    assert environment(OMP_WAIT_POLICY="active") is None
