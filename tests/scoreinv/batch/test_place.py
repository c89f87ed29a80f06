"""A device, backend or program that is not here is found before anything is written."""

import sys

import pytest
import torch
from toy_batch import settings_and_cases

from scoreinv.batch import batch


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("backend=parallelproj", ImportError, "needs parallelproj 2"),
        ("backend=tigre", ImportError, "needs TIGRE"),
        ("methods=[fdk,tigre_fdk]", ImportError, "methods: tigre_fdk needs TIGRE"),
        pytest.param(
            "device=cuda",
            ValueError,
            "torch finds 0 GPUs",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_an_earlier_batch_is_left_alone(tmp_path, monkeypatch, key, kind, message):
    for module in ("parallelproj_core", "tigre"):
        monkeypatch.setitem(sys.modules, module, None)
    methods = "run.methods=[fdk]"
    batch(*settings_and_cases(methods), tmp_path, say=lambda line: None)
    before = files(tmp_path)
    with pytest.raises(kind, match=message):
        batch(*settings_and_cases(methods, f"run.{key}"), tmp_path, say=lambda line: None)
    assert files(tmp_path) == before
