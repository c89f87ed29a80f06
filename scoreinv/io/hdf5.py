"""Opening HDF5 files so that whatever is wrong with one is said in one line that names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoreinv.io.atomic import check_exists


@contextmanager
def open_hdf5(path: str | Path, suffixes: Sequence[str]) -> Iterator[Any]:
    """The HDF5 file for reading; every error inside the block becomes one line that names it."""
    checked = check_exists(path, suffixes, "an HDF5 file")
    import h5py

    try:
        with h5py.File(checked, "r") as file:
            yield file
    except PermissionError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not HDF5 ({reason}); copy or export the file again") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def dataset(file: Any, name: str) -> Any:
    found = item(file, name)
    if not hasattr(found, "shape"):
        raise ValueError(f"/{name} is a group, expected an array; write it as a dataset")
    return found


def item(file: Any, name: str) -> Any:
    if name not in file:
        present: list[str] = []
        file.visit(present.append)
        raise ValueError(f"lacks /{name}, has {', '.join(present) or 'nothing'}; add it or export the file again")
    return file[name]
