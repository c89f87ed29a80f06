import h5py
import numpy as np
import pytest

from scoreinv.io import read_data_exchange, read_kspace, read_projections
from scoreinv.io.hdf5 import open_hdf5


def opened(path):
    with open_hdf5(path, [".h5"]) as file:
        return file["data"][:]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


@pytest.fixture
def other(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones(3)
    return tmp_path / "other.h5"


@pytest.mark.parametrize("name", ["data", "geometry/sources", "not/asked/for"])
def test_links_to_other_files_are_refused(path, other, name):
    with h5py.File(path, "w") as file:
        file[name] = h5py.ExternalLink(str(other), "secret")
    for read in (opened, read_projections, read_data_exchange, read_kspace):
        with pytest.raises(ValueError, match=f"scan.h5: /{name} is a link to another file, .*other.h5; copy the data"):
            read(path)


def test_values_in_other_files_are_refused(path, other, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(24))
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])
    with pytest.raises(ValueError, match="/data keeps its values in other files"):
        opened(path)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", (3,))
        file.create_virtual_dataset("data", layout)
    with pytest.raises(ValueError, match="/data keeps its values in other files"):
        opened(path)


@pytest.mark.parametrize("packed", [{"chunks": (1, 64, 64), "compression": "gzip"}, {}])
def test_arrays_larger_than_their_file_could_hold_are_refused_before_they_are_read(path, packed):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10**6, 10**6, 10**3), "f4", **packed)
    assert path.stat().st_size < 10**5
    for read in (opened, read_projections, read_data_exchange, read_kspace):
        with pytest.raises(ValueError, match=r"/data claims shape \(1000000, 1000000, 1000\), 4e\+15 bytes"):
            read(path)


def test_zeros_packed_as_densely_as_can_be_are_read(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.zeros((64, 256, 256), "f4"), compression="gzip", compression_opts=9)
        file["same"] = h5py.SoftLink("/data")
        file["nowhere"] = h5py.SoftLink("/none")
    assert opened(path).shape == (64, 256, 256)
