"""Opening HDF5 files so that whatever is wrong with one is said in one line that names it.

A file is data from elsewhere: one that would have others read, or more memory asked for than it can fill, is refused
before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoreinv.io.atomic import check_exists

_MOST_PACKED = 1100  # to 1: what gzip, the densest of the common filters, can do
_SMALL = 2**20  # bytes that any file may ask for


@contextmanager
def open_hdf5(path: str | Path, suffixes: Sequence[str]) -> Iterator[Any]:
    """The HDF5 file for reading; every error inside the block becomes one line that names it."""
    checked = check_exists(path, suffixes, "an HDF5 file")
    import h5py

    try:
        with h5py.File(checked, "r") as file:
            _check_self_contained(file, checked.stat().st_size)
            yield file
    except PermissionError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not HDF5 ({reason}); copy or export the file again") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _check_self_contained(file: Any, size: int) -> None:
    """That every array lies in this file of so many bytes, and can be as large as it says."""
    import h5py

    links: dict[str, Any] = {}
    file.visititems_links(links.__setitem__)
    for name, link in links.items():
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"/{name} is a link to another file, {link.filename}; copy the data into this one")
        found = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset):
            continue
        if found.external or found.is_virtual:
            raise ValueError(f"/{name} keeps its values in other files; copy the data into this one")
        stored = min(size, found.id.get_storage_size())
        if found.nbytes > max(_SMALL, stored if found.chunks is None else _MOST_PACKED * stored):
            raise ValueError(
                f"/{name} claims shape {found.shape}, {found.nbytes:.3g} bytes, of which {stored} are stored; expected "
                "a whole array; copy or export the file again"
            )


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
