from dataclasses import replace

import pytest
import torch
from toy_batch import CASES, RUN, settings_and_cases

from scoreinv.batch import forecast as forecast_module
from scoreinv.batch.forecast import MIB, forecast, forecast_run, table
from scoreinv.cases import load_case
from scoreinv.priors import load_prior
from scoreinv.run import posterior

GPU = torch.device("cuda")


def forecasts(*overrides, **changes):
    return forecast(settings_and_cases(*overrides, **changes)[1])


def test_every_method_of_every_case_has_a_time_and_the_case_a_memory():
    run = RUN | {"methods": ["fdk", "sart", "dds", "fdk+dds"]}
    found = forecasts(run=run)
    assert [each.name for each in found] == ["a", "b", "c"]
    for each in found:
        assert list(each.seconds) == ["fdk", "sart", "dds", "fdk+dds"]
        assert all(0 < spent < 60 for spent in each.seconds.values())
        assert 50 * MIB < each.memory < 20_000 * MIB
        assert f"| {each.name}    |" in table(found)


def test_time_grows_with_steps_samples_and_iterations(monkeypatch):
    """On a clock that gives every evaluation of a sampler and every iteration a second."""

    def timed(compute):
        return len(compute.args[0]) * 3.0 if "draw" in repr(compute) else compute.keywords.get("iterations", 0) + 0.5

    monkeypatch.setattr(forecast_module, "_timed", timed)
    run = RUN | {"methods": ["fdk", "sart", "dds"], "sampling": {"steps": 12, "samples": 5}}
    [each] = forecasts(run=run, cases=CASES[:1])
    assert each.seconds["dds"] == pytest.approx(5 * 12, abs=1)
    assert each.seconds["sart"] == pytest.approx(10.5)
    assert each.seconds["fdk"] == pytest.approx(0.5)
    [each] = forecasts(run=run | {"options": {"sart": {"iterations": 30}}}, cases=CASES[:1])
    assert each.seconds["sart"] == pytest.approx(30.5)


def test_a_sampler_is_tried_at_the_middles_of_equal_parts_of_its_levels(monkeypatch):
    tried = []

    def timed(compute):
        if "draw" in repr(compute):
            tried.append(compute.func.__self__.sigmas)
        return 1.0

    monkeypatch.setattr(forecast_module, "_timed", timed)
    [case] = settings_and_cases(run=RUN | {"methods": ["dds"], "sampling": {"steps": 12}}, cases=CASES[:1])[1]
    forecast_run(case.settings)
    whole = posterior("dds", load_case(case.settings), load_prior("ct-128"), case.settings.sampling).sigmas
    torch.testing.assert_close(tried[0], whole[[2, 6, 10, 12]])


def test_cases_alike_are_tried_once(monkeypatch):
    tried = []
    actual = forecast_module._tried
    monkeypatch.setattr(forecast_module, "_tried", lambda *about: tried.append(about[0]) or actual(*about))
    larger = {"name": "larger", "set": {"input.phantom.shape": [2, 24, 24]}}
    forecasts("run.methods=[fdk]", cases=[*CASES, larger])
    assert tried == ["a", "larger"]


def test_a_run_costs_what_its_case_does(monkeypatch):
    monkeypatch.setattr(forecast_module, "_timed", lambda compute: 2.0)
    _, [case, *_] = settings_and_cases(run=RUN | {"methods": ["fdk", "sart"]})
    [expected], found = forecast([case]), forecast_run(case.settings)
    assert (found.name, found.seconds) == (case.name, expected.seconds)
    with pytest.raises(FileNotFoundError, match=r"none.nii.gz: no such file"):
        forecast_run(settings_and_cases(cases=[{"file": "none.nii.gz"}])[1][0].settings)


def test_a_case_that_cannot_be_read_says_why():
    bad, good = forecasts("run.methods=[fdk]", cases=[{"name": "bad", "file": "none.nii.gz"}, CASES[0]])
    assert "none.nii.gz: no such file" in bad.reason
    assert bad.reason in table([bad, good])
    assert good.reason is None


def test_memory_of_a_gpu_stands_beside_that_of_the_host(monkeypatch):
    monkeypatch.setattr(forecast_module, "load_case", lambda settings: replace(load_case(settings), prior_device=GPU))
    monkeypatch.setattr("scoreinv.priors.NetworkPrior.to", lambda self, device: self)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 123 * MIB)
    found = forecasts(cases=CASES[:1])
    assert found[0].gpu_memory == 123 * MIB
    assert " GPU MiB |" in table(found)
    assert "     123 |" in table(found)
    assert "GPU" not in table([replace(found[0], gpu_memory=None)])
