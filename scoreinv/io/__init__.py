"""Reading and writing: images (NIfTI, MetaImage), CT projections (HDF5, DataExchange), PET sinograms (STIR's
Interfile) and PET list mode (Siemens).

Every reader returns arrays in the package's own order and units (z, y, x along Superior, Posterior, Left; mm; rad);
every writer leaves either a whole file or none.
"""

from scoreinv.io.atomic import atomic_path, write_json
from scoreinv.io.images import Image, read_image, write_image
from scoreinv.io.interfile import InterfileSinogram, read_interfile_sinogram
from scoreinv.io.projections import (
    Projections,
    find_rotation_center,
    read_data_exchange,
    read_projections,
    write_projections,
)
from scoreinv.io.siemens import ListModeEvents, histogram, read_siemens_list_mode

__all__ = [
    "Image",
    "InterfileSinogram",
    "ListModeEvents",
    "Projections",
    "atomic_path",
    "find_rotation_center",
    "histogram",
    "read_data_exchange",
    "read_image",
    "read_interfile_sinogram",
    "read_projections",
    "read_siemens_list_mode",
    "write_image",
    "write_json",
    "write_projections",
]
