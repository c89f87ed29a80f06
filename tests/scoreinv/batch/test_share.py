import pytest
from toy_batch import settings_and_cases

from scoreinv.batch.share import Share, rank


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_case_is_in_one_shard(n):
    _, cases = settings_and_cases()
    taken = [case.name for i in range(n) for case in Share.parse(f"{i}/{n}").take(cases)]
    assert sorted(taken) == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["2/2", "1", "a/b", "-1/2", "0/0", "1/2/3", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match="expected i/n with i from 0 to n - 1"):
        Share.parse(text)


def test_a_process_alone_has_everything(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert rank() == Share(0, 1)
