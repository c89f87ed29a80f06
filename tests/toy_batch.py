"""A batch of tiny CT cases that tests share."""

from scoreinv.config import BatchSettings, batch_cases, resolve

RUN = {
    "methods": ["fdk", "dds"],
    "input": {"phantom": {"shape": [2, 16, 16], "voxel_size": [24.0, 24.0, 24.0]}},
    "scan": {"views": 4},
    "sampling": {"steps": 2, "samples": 3},
}
CASES = [{"name": name, "set": {"input.phantom.seed": seed}} for seed, name in enumerate("abc")]


def tree(**changes):
    return {"name": "tiny", "run": RUN, "cases": CASES} | changes


def settings_and_cases(*overrides, **changes):
    settings = resolve(BatchSettings, tree(**changes), overrides)
    return settings, batch_cases(settings)
