"""A file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scoreinv.io import atomic_path
from scoreinv.io.atomic import atomic_pair


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


def test_a_pair_is_replaced_together_and_the_header_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, values = tmp_path / "a.hdr", tmp_path / "a.cfl"

    def write(text: str) -> None:
        with atomic_pair(header, values) as (new_header, new_values):
            new_header.write_text(text)
            new_values.write_text(text)
            if text == "half":
                raise KeyboardInterrupt

    write("old")
    with pytest.raises(KeyboardInterrupt):
        write("half")
    assert (header.read_text(), values.read_text()) == ("old", "old")

    seen = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append((target.name, header.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write("new")
    assert seen == [("a.cfl", False), ("a.hdr", False)]
    assert (header.read_text(), values.read_text()) == ("new", "new")
    assert len(list(tmp_path.iterdir())) == 2
