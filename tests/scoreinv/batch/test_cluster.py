import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from toy_batch import CASES, RUN, settings_and_cases, tree

from scoreinv.batch import batch

TREE = {"engine": "ray", "run": RUN | {"methods": ["fdk", "dds"]}}


def test_without_ray_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"engine: ray needs Ray; pip install 'scoreinv\[cluster\]'"):
        batch(*settings_and_cases(**TREE), tmp_path, say=lambda line: None)


def events(out, kind):
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def until(there, seconds=120):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster():
    """Two nodes of one worker each, real processes on this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_cases_of_a_killed_worker_are_done_by_another(cluster, tmp_path):
    run = RUN | {"sampling": {"steps": 10, "samples": 12}}
    given = [*CASES, {"name": "bad", "file": "none.nii.gz"}]
    settings, cases = settings_and_cases(engine="ray", run=run, cases=given, ray={"address": cluster.address})
    killed = []

    def kill_one():
        """Once both nodes are at work, the process of the latest image."""
        until(lambda: (tmp_path / "events.jsonl").is_file())
        until(lambda: len({event["worker"] for event in events(tmp_path, "image")}) == 2)
        last = events(tmp_path, "image")[-1]
        os.kill(int(last["worker"].split()[-1]), signal.SIGKILL)
        killed.append((last["case"], last["worker"]))

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcomes = batch(settings, cases, tmp_path, say=lambda line: None)
    killer.join()
    statuses = {outcome.name: outcome.status for outcome in outcomes}
    assert statuses == {"a": "complete", "b": "complete", "c": "complete", "bad": "failed"}
    [(case, worker)] = killed
    workers = [event["worker"] for event in events(tmp_path, "case_started") if event["case"] == case]
    assert workers[0] == worker != workers[-1]
    images = [event["number"] for event in events(tmp_path, "image") if event["case"] == case]
    assert len(images) == 13
    assert json.loads((tmp_path / "summary.json").read_text())["counts"] == {"complete": 3, "failed": 1, "pending": 0}


@pytest.mark.slow
def test_cases_of_a_node_that_is_gone_are_done_by_the_other(cluster, tmp_path):
    run = RUN | {"sampling": {"steps": 10, "samples": 12}}
    settings, cases = settings_and_cases(engine="ray", run=run, ray={"address": cluster.address})

    def remove_one():
        until(lambda: (tmp_path / "events.jsonl").is_file())
        until(lambda: len({event["worker"] for event in events(tmp_path, "image")}) == 2)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    remover = threading.Thread(target=remove_one)
    remover.start()
    outcomes = batch(settings, cases, tmp_path, say=lambda line: None)
    remover.join()
    assert {outcome.name: outcome.status for outcome in outcomes} == dict.fromkeys("abc", "complete")


@pytest.mark.slow
def test_sigterm_ends_the_batch_with_143_and_a_summary(tmp_path):
    pytest.importorskip("ray")
    run = RUN | {"sampling": {"steps": 40, "samples": 40}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree(engine="ray", run=run)))
    command = [sys.executable, "-m", "scoreinv", "batch", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: (tmp_path / "out" / "events.jsonl").is_file())
    until(lambda: events(tmp_path / "out", "image"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["counts"]["pending"] > 0
    assert events(tmp_path / "out", "terminated")
