"""Importing the package costs about what importing torch costs."""

import subprocess
import sys

import pytest

HEAVY = ("diffusers", "accelerate", "matplotlib", "numba", "nibabel", "h5py", "skimage", "typer", "scipy", "pydantic")


@pytest.fixture(scope="module")
def loaded():
    code = "import sys, scoreinv; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_libraries_load_where_they_are_used(loaded, name):
    assert "scoreinv" in loaded
    assert name not in loaded


def test_rooms_have_one_name(loaded):
    assert not {"operators", "samplers"} & set(loaded)
