"""A run's folder, as `scoreinv run` leaves it."""

import torch
import yaml

from scoreinv.io import Image, write_image, write_json

SPACING = (4.0, 1.5, 2.0)
EVIL = "</script><script>document.title='taken'</script><b>&\"'"


def attenuation(shape=(6, 20, 16), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = 0.02 * torch.ones(shape) + 0.002 * torch.randn(shape, generator=generator)
    image[:, :3] = 0
    # The slice's number, so that slices differ.
    return image + 0.001 * torch.arange(shape[0])[:, None, None]


def toy_run(folder, modality="cbct", shape=(6, 20, 16), name=EVIL, reference=True):
    """Write it; returns reference, images by method and the spread of the second, `dds`."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = attenuation(shape)
    images = {"fdk": truth + 0.003, "dds": truth - 0.001}
    spread = torch.full(shape, 0.0005)
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": name, "modality": modality, "methods": list(images)}))
    if reference:
        write_image(folder / "reference.nii.gz", Image(truth, SPACING))
    for method, image in images.items():
        write_image(folder / f"{method}.nii.gz", Image(image, SPACING))
    (folder / "dds").mkdir(exist_ok=True)
    write_image(folder / "dds" / "std.nii.gz", Image(spread, SPACING))
    steps = [
        {
            "index": k,
            "sigma": 10.0 / 4**k,
            "misfit": [1e6 / 3**k, 2e6 / 3**k],
            "inner_iterations": 5 + k,
            "network": 0.2,
            "operator": 0.1,
            "rest": 0.01,
        }
        for k in range(5)
    ]
    record = {"config": {"scoreinv": "0.1.0"}, "spread": "uncalibrated", "steps": steps}
    write_json(folder / "dds" / "reconstruction.json", record)
    rows = {"fdk": {"psnr": 20.0, "ssim": 0.5, "seconds": 0.1}, "dds": {"psnr": 30.0, "ssim": None, "seconds": 2.0}}
    write_json(folder / "metrics.json", {"methods": rows})
    return truth, images, spread
