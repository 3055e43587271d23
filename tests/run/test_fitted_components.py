"""Runs whose recipe has components that are fitted before training: fitted, resumed in the same bits, refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor import DistillationLoss
from preceptor.conformance.batch import plain_selection_data
from preceptor.errors import InputError, Interrupted
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.history import saved_run
from tests.recalibrations.test_recalibrations import calibrated, data
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN

EVERYTHING: dict[str, Any] = {
    "recalibration": "vector_scaling",
    "correction": "arbitrate",
    "selection": {"name": "trust", "keep": 0.8},
    "terms": {"slam": {"loss": "slam"}, "ce": {"label_loss": "cross_entropy"}},
}
"""A fitted component in every slot that has one."""


def settings(teacher: Path, recipe: Any, **more: Any) -> Any:
    return resolve({**SMALL_RUN, "teacher": str(teacher), "recipe": recipe, **more})


def test_what_was_fitted_is_the_same_bits_after_a_resume(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(settings(teacher, EVERYTHING), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(settings(teacher, EVERYTHING), tmp_path / "stopped")
    resume(tmp_path / "stopped")
    assert (tmp_path / "stopped/student.safetensors").read_bytes() == (
        whole.folder / "student.safetensors"
    ).read_bytes()
    assert epochs(tmp_path / "stopped") == epochs(whole.folder)
    assert whole.distilled_samples == 48


@pytest.mark.parametrize(
    "recipe", ["arbitrate", "trust", "recalibrated-ps", "confusion", "prior", "slam", "rld", "wsld"]
)
def test_the_recipes_for_unreliable_teachers_train(teacher: Path, tmp_path: Path, recipe: str) -> None:
    needs_held_out = recipe not in ("prior", "rld", "wsld")
    result = run(settings(teacher, recipe), tmp_path / "out")
    assert result.test is not None
    found = saved_run(result.folder)
    assert found is not None
    assert (found.fitted_on_held_out is not None) == needs_held_out
    if needs_held_out:
        with pytest.raises(InputError, match=r"held.out"):
            run(settings(teacher, recipe, validation=0.0), tmp_path / "refused")


def test_out_of_fold_outputs_are_fitted_on_the_training_images(teacher: Path, tmp_path: Path) -> None:
    recipe = {"correction": {"name": "arbitrate", "fit_on": "train"}, "terms": {"kl": {"loss": "kl"}}}
    result = run(settings(teacher, recipe, validation=0.0), tmp_path / "out", force=True)
    found = saved_run(result.folder)
    assert found is not None
    assert found.fitted_on_held_out is None


def test_a_fit_without_a_teacher_is_refused(tmp_path: Path) -> None:
    recipe = {"correction": "arbitrate", "terms": {"ce": {"label_loss": "cross_entropy"}}}
    with pytest.raises(InputError, match="arbitrate is fitted on the teacher's outputs, but no term uses the teacher"):
        run(resolve({**SMALL_RUN, "recipe": recipe}), tmp_path / "out")


def test_scores_need_a_selection_by_score(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recipe has no selection by score"):
        run(settings(teacher, "arbitrate", scores=tmp_path / "scores.safetensors"), tmp_path / "out")


def test_the_state_of_a_loss_holds_what_it_was_fitted_to() -> None:
    parts = {"correction": "arbitrate", "recalibration": "temperature_scaling"}
    fitted, blank = (DistillationLoss.from_recipe("kd", parts) for _ in range(2))
    assert len(fitted.unfitted) == 2
    fitted.fit(plain_selection_data())
    assert not fitted.needs_fit
    blank.load_state_dict(fitted.state_dict())
    assert not blank.needs_fit
    for name, value in fitted.state_dict().items():
        assert torch.equal(blank.state_dict()[name], value)


def test_components_are_fitted_on_the_recalibrated_teacher() -> None:
    """Its confidence is calibrated already, so that arbitration finds a temperature of 1."""
    logits, label = calibrated()
    believed = {"name": "arbitrate", "label_trust": 1.0}
    loss = DistillationLoss.from_recipe("kd", {"correction": believed, "recalibration": "temperature_scaling"})
    loss.fit(data(5 * logits, label))
    assert float(loss.correction.scale) == pytest.approx(1, rel=0.02)  # type: ignore[union-attr]
