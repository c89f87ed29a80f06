"""Reading and writing: images (NIfTI, MetaImage, Interfile, DICOM), CT projections (HDF5, DataExchange, RTK), MR
k-space (ISMRMRD, fastMRI, BART, NumPy), PET sinograms (STIR's Interfile) and PET list mode (Siemens).

Every reader returns arrays in the package's own order and units (z, y, x along Superior, Posterior, Left; mm; rad);
k-space alone keeps the scanner's axes, and `KSpace.place` turns its image. Every writer leaves either a whole file or
none.
"""

from scoreinv.io.atomic import atomic_path, write_json
from scoreinv.io.bart import read_cfl, write_cfl
from scoreinv.io.dicom import holds_dicom, patient_id, read_dicom
from scoreinv.io.fastmri import read_fastmri
from scoreinv.io.images import Image, phase_path, read_complex_image, read_image, write_image
from scoreinv.io.interfile import InterfileSinogram, read_interfile_sinogram, write_interfile_sinogram
from scoreinv.io.ismrmrd import read_ismrmrd
from scoreinv.io.kspace import KSpace, place_slices
from scoreinv.io.projections import (
    Projections,
    find_rotation_center,
    read_data_exchange,
    read_projections,
    write_projections,
)
from scoreinv.io.raw import read_kspace, read_kspace_npy
from scoreinv.io.rtk import read_rtk, read_rtk_geometry, write_rtk, write_rtk_geometry
from scoreinv.io.siemens import ListModeEvents, histogram, read_siemens_list_mode

__all__ = [
    "Image",
    "InterfileSinogram",
    "KSpace",
    "ListModeEvents",
    "Projections",
    "atomic_path",
    "find_rotation_center",
    "histogram",
    "holds_dicom",
    "patient_id",
    "phase_path",
    "place_slices",
    "read_cfl",
    "read_complex_image",
    "read_data_exchange",
    "read_dicom",
    "read_fastmri",
    "read_image",
    "read_interfile_sinogram",
    "read_ismrmrd",
    "read_kspace",
    "read_kspace_npy",
    "read_projections",
    "read_rtk",
    "read_rtk_geometry",
    "read_siemens_list_mode",
    "write_cfl",
    "write_image",
    "write_interfile_sinogram",
    "write_json",
    "write_projections",
    "write_rtk",
    "write_rtk_geometry",
]
