"""What a calibration holds for: how data were taken and sampled from, without whose they were."""

from __future__ import annotations

import json
from typing import Any

from scoreinv.cases import Case
from scoreinv.config import RunSettings
from scoreinv.priors.storage import prior_folder


def acquisition(settings: RunSettings, method: str, case: Case) -> dict[str, Any]:
    """Plain values that two scans share if what was learned of one holds for the other.

    Scanner, dose, image grid, prior (by SHA-256) and sampler; neither patient nor seeds, nor the number of samples.
    Simulated scans are told from measured ones, whose dose no setting knows.
    """
    tree = settings.model_dump(mode="json")
    source = tree["input"]
    config = prior_folder(settings.sampling.prior) / "config.json"
    sampling = {key: value for key, value in tree["sampling"].items() if key not in ("seed", "samples", "max_slices")}
    return {
        "modality": settings.modality,
        "input": sorted(key for key, value in source.items() if key != "phantom" and value not in (None, [], False)),
        "operator": type(case.operator).__name__,
        "image": list(case.operator.in_shape),
        "data": list(case.operator.out_shape),
        "voxel_size": [round(size, 6) for size in case.voxel_size],
        "method": method,
        "sampling": sampling | {"prior": json.loads(config.read_text())["sha256"]},
    } | {
        section: {key: value for key, value in tree[section].items() if key != "seed"}
        for section in ("scan", "lines", "coils")
        if section in tree
    }
