"""A file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoreinv.io import atomic_path


def test_atomic_path_appears_only_when_complete(tmp_path: Path) -> None:
    final = tmp_path / "result.txt"
    with atomic_path(final) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"

    def interrupted() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert final.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [final]
