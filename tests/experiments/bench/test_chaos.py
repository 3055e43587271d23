"""A run killed at 30 random instants, its checkpoints damaged in between, ends in the same bits."""

import pytest

from experiments.bench import chaos


def test_thirty_kills(tmp_path) -> None:
    counts, wrong = chaos.survive(30, seed=1, work=tmp_path)
    assert wrong == []
    assert counts["kills"] >= 30
    assert {chaos.meets_a_full_disk(tmp_path, kind) for kind in chaos.SOURCES} <= {None, "skipped"}


def test_a_run_that_ends_otherwise_is_noticed(tmp_path, monkeypatch) -> None:
    """As after a seed that is not the run's."""
    monkeypatch.setattr(
        chaos.Killer, "run_to_the_end", lambda self, folder, teacher, *how: _another(self, folder, teacher)
    )
    counts, wrong = chaos.survive(1, seed=0, work=tmp_path)
    assert len(wrong) == counts["runs"] == 1


def _another(killer: chaos.Killer, folder, teacher) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(chaos.SETTINGS, "seed", 7)
        chaos.train(folder, teacher)
    killer.counts.update(kills=1, runs=1)
