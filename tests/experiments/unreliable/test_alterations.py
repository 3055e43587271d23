import torch

from experiments.unreliable.alterations import (
    LabelNoise,
    long_tail,
    noisy_labels,
    swapped_columns,
)

LABELS = torch.arange(5).repeat(40)


def test_uniform_noise_changes_exactly_its_share_and_follows_from_the_seed():
    def noisy(seed):
        return noisy_labels(LABELS, LabelNoise("uniform", 0.2), human=None, pairs=[], classes=5, seed=seed)

    assert int((noisy(0) != LABELS).sum()) == 40
    assert torch.equal(noisy(0), noisy(0))
    assert not torch.equal(noisy(0), noisy(1))
    assert set(noisy(0).tolist()) <= set(range(5))


def test_pairs_are_swapped_within_pairs_alone():
    after = noisy_labels(LABELS, LabelNoise("pairs", 0.5), human=None, pairs=[(0, 1)], classes=5, seed=0)
    changed = after != LABELS
    assert int(changed.sum()) == 40
    assert set(zip(LABELS[changed].tolist(), after[changed].tolist(), strict=True)) == {(0, 1), (1, 0)}


def test_human_labels_are_taken_as_they_are():
    human = LABELS.flip(0)
    assert noisy_labels(LABELS, LabelNoise("human"), human=human, pairs=[], classes=5, seed=0) is human


def test_a_long_tail_has_the_stated_imbalance():
    counts = LABELS[long_tail(LABELS, 10, 0)].bincount().tolist()
    assert counts[0] == 40
    assert counts[-1] == 4
    assert counts == sorted(counts, reverse=True)


def test_columns_of_pairs_are_swapped():
    assert swapped_columns(torch.tensor([[1.0, 2, 3, 4]]), [(0, 3)]).tolist() == [[4, 2, 3, 1]]
