"""The encoding of an ISMRMRD file: which grid its readouts belong to, and where its lines go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Encoding:
    """One encoding space, arrays in (z, y, x) order.

    Attributes:
        number: `encoding_space_ref` of its readouts.
        ndim: 2 or 3.
        kind: "cartesian", "epi", "radial", "goldenangle", "spiral" or "other".
        matrix: encoded matrix (z, y, x), readout oversampling included.
        field_of_view: of the encoded matrix, mm.
        recon_field_of_view: of the image that the scanner shows, mm.
        recon_matrix: voxels of the image that the scanner shows.
        centers: index (z, y) of the line through the middle of k-space.
    """

    number: int
    ndim: int
    kind: str
    matrix: tuple[int, int, int]
    field_of_view: tuple[float, float, float]
    recon_field_of_view: tuple[float, float, float]
    recon_matrix: tuple[int, int, int]
    centers: tuple[int, int]

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths (z, y, x), mm, of the resolution measured."""
        z, y, x = (length / n for length, n in zip(self.field_of_view, self.matrix, strict=True))
        return (z, y, x)

    @property
    def shown(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of this size in the field of view that the scanner shows."""
        z, y, x = (self._shown(axis) for axis in range(3))
        return (z, y, x)

    def _shown(self, axis: int) -> int:
        voxels = self.recon_field_of_view[axis] / self.voxel_size[axis]
        # Fields of view are rounded in headers; the scanner's own number of voxels decides where it is meant.
        matrix = self.recon_matrix[axis]
        return max(1, min(matrix if abs(voxels - matrix) <= 0.01 * matrix else round(voxels), self.matrix[axis]))


def read_encodings(document: bytes | str) -> list[Encoding]:
    """The encoding spaces of an ISMRMRD XML header.

    Raises:
        ValueError: if it is no such header, has no encoding, or sizes that are not positive.
    """
    from ismrmrd.xsd import ismrmrdHeader
    from xsdata.exceptions import ParserError
    from xsdata.formats.dataclass.parsers import XmlParser
    from xsdata.formats.dataclass.parsers.config import ParserConfig

    # Vendors' converters add elements of their own, which the strict parser of ismrmrd refuses.
    parser = XmlParser(config=ParserConfig(fail_on_unknown_properties=False))
    content = document.encode() if isinstance(document, str) else document
    try:
        header = parser.from_bytes(content, ismrmrdHeader)
    except (ParserError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"XML header is damaged or not ISMRMRD ({reason}); export the file again") from error
    if not header.encoding:
        raise ValueError("XML header has no encoding; export the file again")
    return [_encoding(number, encoding) for number, encoding in enumerate(header.encoding)]


def _encoding(number: int, encoding: Any) -> Encoding:
    encoded, shown, limits = encoding.encodedSpace, encoding.reconSpace, encoding.encodingLimits
    matrix, recon_matrix = _sizes(encoded.matrixSize), _sizes(shown.matrixSize)
    field_of_view, recon_field_of_view = _sizes(encoded.fieldOfView_mm), _sizes(shown.fieldOfView_mm)
    if min(*matrix, *recon_matrix, *field_of_view, *recon_field_of_view) <= 0:
        raise ValueError(f"encoding {number} has a matrix or field of view that is not positive; correct the header")
    steps = (limits.kspace_encoding_step_2, limits.kspace_encoding_step_1)
    z, y = (n // 2 if step is None else step.center for n, step in zip(matrix[:2], steps, strict=True))
    return Encoding(
        number,
        3 if matrix[0] > 1 else 2,
        encoding.trajectory.value,
        matrix,
        field_of_view,
        recon_field_of_view,
        recon_matrix,
        (z, y),
    )


def _sizes(size: Any) -> tuple[Any, Any, Any]:
    return (size.z, size.y, size.x)
