from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from preceptor.audit.opinion import second_opinion
from preceptor.compare.crossfit import crossfit
from preceptor.data import ImageSet
from preceptor.errors import InputError
from preceptor.run import resolve
from tests.training_helpers import digits


def no_features() -> torch.Tensor:
    raise AssertionError("nobody asked for them")


def test_on_pixels_it_knows_digits_and_has_probabilities() -> None:
    found = second_opinion("pixels", digits(), no_features)
    assert found.accuracy > 0.9
    assert torch.allclose(found.tables[0].sum(dim=1), torch.ones((), dtype=torch.float64))


def test_on_features_of_the_teacher_and_of_a_file_it_is_the_same(tmp_path: Path) -> None:
    features = digits().train.images.flatten(1)[:, ::3].float()
    np.save(tmp_path / "features.npy", features.numpy())
    ours = second_opinion("teacher", digits(), lambda: features)
    theirs = second_opinion(str(tmp_path / "features.npy"), digits(), no_features)
    assert torch.allclose(ours.tables[0], theirs.tables[0], atol=1e-6)


def test_of_a_cross_fitting_it_has_the_epochs_too(tmp_path: Path) -> None:
    settings = {"student": "convnet8", "recipe": "none", "training": {"epochs": 2}, "folds": 2, "device": "cpu"}
    result = crossfit(resolve(settings), tmp_path / "out", epochs_kept=2, jobs=1)
    found = second_opinion(str(tmp_path / "out"), digits(), no_features)
    assert found.accuracy == pytest.approx(result.accuracy)
    assert len(found.tables) == 2
    assert "over 2 epochs" in found.name
    for table in found.tables:
        assert torch.allclose(table.sum(dim=1), torch.ones((), dtype=torch.float64), atol=1e-2)
    epochs = tmp_path / "out/epochs.npy"
    epochs.write_bytes(epochs.read_bytes()[:500])
    with pytest.raises(InputError, match=r"epochs\.npy: not a readable \.npy file"):
        second_opinion(str(tmp_path / "out"), digits(), no_features)
    np.save(epochs, np.full((2, len(digits().train), 10), "a"))
    with pytest.raises(InputError, match=r"epochs\.npy: <U1 of shape .*; expected probabilities"):
        second_opinion(str(tmp_path / "out"), digits(), no_features)


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of preceptor crossfit in it"):
        second_opinion(str(tmp_path), digits(), no_features)


@pytest.mark.parametrize("labeled", [12, 40, 130])
def test_few_labels_are_enough_for_it(labeled: int) -> None:
    """Of fewer than its components have dimensions too."""
    labels = digits().train.labels.clone()
    labels[labeled:] = -1
    data = replace(digits(), train=ImageSet(digits().train.images, labels))
    features = torch.cat([data.train.images.flatten(1).float() / 255] * 4, dim=1)
    found = second_opinion("teacher", data, lambda: features)
    assert torch.allclose(found.tables[0].sum(dim=1), torch.ones((), dtype=torch.float64))
