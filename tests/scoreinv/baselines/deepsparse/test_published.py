"""The key map. That weights imported by it answer as in the original code was checked once, by random weights."""

import pytest
import torch

from scoreinv.baselines.deepsparse import DiCE, import_published
from scoreinv.baselines.deepsparse.published import renamed, turned


@pytest.fixture(scope="module")
def original():
    """Weights under the original's names, of the original's shapes."""
    state = {}
    for name, value in DiCE().state_dict().items():
        state[_original(name)] = turned(value)
    return state


def _original(name):
    """The other way round, written down for itself."""
    part, *rest = name.split(".")
    if part == "stem":
        return "encoder.encoder.stem.conv." + ".".join(rest)
    if part == "encoder":
        level, half, *rest = rest
        if half == "0":
            return f"encoder.encoder.layers.{level}.0.layer." + ".".join(rest)
        first, *rest = rest
        inner = "pre_conv." if first == "0" else "layers.0.conv."
        return f"encoder.encoder.layers.{level}.1.{inner}" + ".".join(rest if first == "0" else rest[1:])
    if part == "quantisers":
        scale, kind, *rest = rest
        if kind == "codebook":
            return f"cb.{scale}.codebook.embedding." + {"codes": "weight", "sums": "embed_avg"}.get(
                rest[0], "cluster_size"
            )
        return f"cb.{scale}.{ {'before': 'pre', 'after': 'post'}[kind] }_quant." + ".".join(rest)
    if part == "point_decoder":
        return "point_decoder.mlps." + ".".join(rest)
    scale, layer, *rest = rest
    if part == "decoders" and scale != "0" and layer == "0":
        return f"decoders.{scale}.pre_conv." + ".".join(rest)
    number = int(layer) - (part == "decoders" and scale != "0")
    group = "denoise_layers" if part == "denoisers" else "decoders"
    return f"{group}.{scale}.layers.{number}.conv." + ".".join(rest[1:])


def test_every_name_is_known(original):
    assert "decoders.2.layers.1.conv.1.running_var" in original
    assert "encoder.encoder.layers.1.1.layers.0.conv.0.weight" in original
    names = DiCE().state_dict().keys()
    assert {renamed(key) for key in original} == names


def test_imported_file_has_the_weights(original, tmp_path):
    torch.save(original, tmp_path / "ep_800.pth")
    network = import_published(tmp_path / "ep_800.pth")
    assert network.configuration["denoise"]
    assert network.trained_on.source_to_isocenter == 800
    for name, value in network.state_dict().items():
        assert torch.equal(value, turned(original[_original(name)])), name


def test_file_from_before_the_last_step_does_without_denoising(original, tmp_path):
    state = {key: value for key, value in original.items() if not key.startswith("denoise_layers")}
    torch.save(state, tmp_path / "ep_800.pth")
    assert not import_published(tmp_path / "ep_800.pth").configuration["denoise"]


def test_other_network_is_refused_by_the_weight_that_differs(original, tmp_path):
    torch.save(original | {"cb.0.codebook.embedding.weight": torch.zeros(256, 128)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"quantisers\.0\.codebook\.codes of shape \(256, 128\), DiCE \(512, 128\)"):
        import_published(tmp_path / "other.pth")
    (tmp_path / "bad.pth").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"damaged or no \.pth"):
        import_published(tmp_path / "bad.pth")
    with pytest.raises(FileNotFoundError, match="no file"):
        import_published(tmp_path / "none.pth")
