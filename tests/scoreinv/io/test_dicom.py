"""CT series of DICOM: values, order and place of slices; folders that are no single whole series are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from scoreinv.io import holds_dicom, patient_id, read_dicom, read_image

STORED = np.random.default_rng(0).integers(0, 3000, (5, 4, 6)).astype(np.int16)
SERIES = generate_uid()
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(folder: Path, k: int, name: str | None = None, **changes: object) -> None:
    """Slice k of a series of 2.5 mm, with pixels of 0.5 x 0.75 mm (y, x); attributes as changed, None without."""
    attributes = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "Modality": "CT",
        "SeriesInstanceUID": SERIES,
        "SeriesDescription": "chest",
        "PatientID": "anyone",
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": [-30.0, -20.0, 100.0 + 2.5 * k],
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 2.5,
        "Rows": 4,
        "Columns": 6,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": STORED[k % 5].tobytes(),
    } | changes
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = attributes["SOPInstanceUID"]
    for key, value in attributes.items():
        if value is not None:
            setattr(dataset, key, value)
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / (name or f"{(7 * k) % 5}.dcm"), enforce_file_format=True)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Five slices, whose names are in another order."""
    for k in range(5):
        write_slice(tmp_path / "series", k)
    return tmp_path / "series"


def test_slices_are_ordered_by_position_and_scaled_to_hounsfield(series: Path) -> None:
    image = read_dicom(series)
    assert np.array_equal(image.data.numpy(), STORED.astype(np.float32) - 1024)
    assert image.voxel_size == (2.5, 0.5, 0.75)
    assert image.origin == (100.0, -20.0, -30.0)
    assert np.array_equal(image.direction, np.eye(3))


def test_every_slice_has_its_own_rescaling(series: Path) -> None:
    write_slice(series, 2, RescaleSlope=0.5, RescaleIntercept=-1000)
    assert np.array_equal(read_dicom(series).data[2].numpy(), 0.5 * STORED[2] - 1000)


def test_a_folder_is_an_image_to_read(series: Path) -> None:
    assert np.array_equal(read_image(series).data, read_dicom(series).data)
    assert holds_dicom(series)
    assert not holds_dicom(series.parent)
    assert patient_id(series) == "anyone"


@pytest.mark.parametrize(
    ("rows_along", "columns_along", "turned"),
    [
        ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), lambda a: a[:, ::-1, ::-1]),  # prone
        ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), lambda a: a[:, ::-1].transpose(1, 2, 0)[..., ::-1]),  # sagittal
    ],
    ids=["prone", "sagittal"],
)
def test_axes_are_turned_to_superior_posterior_left(tmp_path, rows_along, columns_along, turned) -> None:  # type: ignore[no-untyped-def]
    normal = np.cross(rows_along, columns_along)
    for k in range(5):
        place = [float(value) for value in 2.5 * k * normal]
        orientation = [*rows_along, *columns_along]
        write_slice(tmp_path / "s", k, ImageOrientationPatient=orientation, ImagePositionPatient=place)
    image = read_dicom(tmp_path / "s")
    assert np.array_equal(image.data.numpy(), turned(STORED.astype(np.float32) - 1024))
    assert np.array_equal(image.direction, np.eye(3))


def test_files_that_are_no_slices_are_passed_over(series: Path) -> None:
    (series / "notes.txt").write_text("chest")
    write_slice(series, 0, "report", Rows=None, Columns=None, PixelData=None, SeriesInstanceUID=generate_uid())
    assert read_dicom(series).data.shape == (5, 4, 6)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    write_slice(tmp_path / "s", 0, SliceThickness=5.0)
    assert read_dicom(tmp_path / "s").voxel_size == (5.0, 0.5, 0.75)


class TestRefused:
    def test_two_series_by_name(self, series: Path) -> None:
        other = generate_uid()
        write_slice(series, 0, "other", SeriesInstanceUID=other, SeriesDescription="lung kernel")
        with pytest.raises(ValueError, match=r"series: holds 2 series, .*expected one") as error:
            read_dicom(series)
        assert all(text in str(error.value) for text in (SERIES, other, "chest", "lung kernel"))

    def test_missing_slices(self, series: Path) -> None:
        write_slice(series, 7, "far")
        with pytest.raises(ValueError, match=r"3.dcm and far are 7.5 mm apart, the others 2.5 mm.*missing slices$"):
            read_dicom(series)

    def test_a_slice_twice(self, series: Path) -> None:
        write_slice(series, 3, "again")
        with pytest.raises(ValueError, match=r"(1.dcm and again|again and 1.dcm) lie in the same place"):
            read_dicom(series)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"Modality": "MR"}, "modality MR, expected CT"),
            ({"ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]}, "different orientations, expected one"),
            ({"PixelSpacing": [0.5, 0.5]}, "PixelSpacing .* expected the same for all"),
            ({"RescaleSlope": None}, "RescaleSlope.*; export the series again"),
            ({"PixelData": STORED[0].tobytes()[:10]}, "pixels cannot be read"),
        ],
    )
    def test_what_is_no_ct_of_one_geometry(self, series: Path, change: dict[str, object], message: str) -> None:
        write_slice(series, 0, **change)
        with pytest.raises(ValueError, match=message):
            read_dicom(series)

    def test_a_folder_without_dicom(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no DICOM image"):
            read_image(tmp_path)
        with pytest.raises(FileNotFoundError, match="no such folder"):
            read_dicom(tmp_path / "none")
