import pytest
import torch
from matplotlib.image import imread

from scoreinv.metrics import HOUNSFIELD, activities
from scoreinv.report import figure, table


def test_table_has_a_row_a_method_and_a_column_a_metric():
    lines = table(
        {"fdk": {"psnr": 20.123, "ssim": 0.5, "seconds": 1.0}, "dds": {"psnr": 30, "ssim": 0.91, "seconds": 12.34}}
    ).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["method", "PSNR (dB)", "SSIM", "seconds"]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["fdk", "20.12", "0.500", "1.0"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["dds", "30.00", "0.910", "12.3"]
    assert len({len(line) for line in lines}) == 1


def test_table_without_a_reference_leaves_its_columns_out():
    assert "PSNR" not in table({"fdk": {"seconds": 1.0}})


def test_table_has_a_dash_for_what_is_not_defined():
    assert "|     - |" in table({"fdk": {"psnr": float("inf"), "ssim": float("nan"), "seconds": 1.0}})


@pytest.mark.parametrize("compared", [True, False])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.5, 1.0)])
def test_figure_is_a_picture(tmp_path, compared, spacing):
    image = 0.02 * torch.rand(3, 8, 12)
    figure(tmp_path / "figure.png", {"fdk": image, "dds": image}, image if compared else None, spacing, HOUNSFIELD)
    pixels = imread(tmp_path / "figure.png")
    assert pixels.shape[0] > 50
    assert float(pixels[..., :3].std()) > 0.05
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_figure_says_what_its_colours_mean(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("matplotlib.figure.Figure.text", lambda self, x, y, text, **how: said.append(text))
    image = torch.rand(2, 8, 8)
    figure(tmp_path / "ct.png", {"fdk": image}, image, (1.0, 1.0, 1.0), HOUNSFIELD)
    figure(tmp_path / "pet.png", {"osem": torch.ones(2, 8, 8)}, None, (1.0, 1.0, 1.0), activities(torch.ones(2, 8, 8)))
    assert said == [
        "black to white: -1000 to 1000 HU; blue to red: errors from -400 to 400 HU",
        "white to black: 0 to 1 of the image",
    ]


def test_failing_figure_leaves_no_file_and_nothing_open(tmp_path):
    import matplotlib.pyplot as plt

    with pytest.raises(FileNotFoundError, match="folder"):
        figure(tmp_path / "none" / "figure.png", {"fdk": torch.zeros(2, 4, 4)}, None, (1.0, 1.0, 1.0), HOUNSFIELD)
    assert list(tmp_path.iterdir()) == []
    assert plt.get_fignums() == []
