import json
import sys

import pytest
from toy_batch import CASES, RUN, settings_and_cases

from scoreinv.batch import batch

TREE = {"engine": "ray", "run": RUN | {"methods": ["fdk", "dds"]}}


def test_without_ray_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"engine: ray needs Ray; pip install 'scoreinv\[cluster\]'"):
        batch(*settings_and_cases(**TREE), tmp_path, say=lambda line: None)


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one worker each; real local processes."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_cases_of_a_killed_worker_are_done_by_another(cluster, tmp_path):
    import ray

    slow = RUN | {"sampling": {"steps": 10, "samples": 8}}
    bad = {"name": "bad", "file": "none.nii.gz"}
    changes = {"engine": "ray", "run": slow, "cases": [*CASES, bad], "ray": {"address": cluster.address}}
    settings, cases = settings_and_cases(**changes)
    ray.init(address=cluster.address, log_to_driver=False)
    killed = []

    def kill_one(first=tmp_path / "events.jsonl"):
        """Once it has kept an image."""
        from ray.util.state import list_workers

        while not list((tmp_path / ".work").rglob("*.safetensors")):
            time.sleep(0.05)
        [node] = [node for node in ray.nodes() if node["Alive"]][-1:]
        killed.append(node)
