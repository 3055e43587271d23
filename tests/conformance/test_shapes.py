"""The shape annotations hold: every stage and recipe is run with all of them checked, in a process of its own."""

import subprocess
import sys

CHECKED_ROOMS = ["lesson", "chain", "terms", "correct", "temper", "select", "match", "truth"]

PREPARE = f"""
from jaxtyping import install_import_hook
rooms = [f"preceptor.{{name}}" for name in {CHECKED_ROOMS!r}]
hook = install_import_hook(rooms, "beartype.beartype")
import torch
from preceptor import Chain, recipe, recipe_names
from preceptor.catalogue import stages
from preceptor.conformance.batch import plain_batch, with_reservation
from preceptor.conformance.check import Subject, learn
from preceptor.lesson import predicted_class
"""

RUN_EVERYTHING = """
for batch in (plain_batch(), plain_batch(dtype=torch.float64), with_reservation(plain_batch())):
    for info in stages():
        learn(Subject(info).chain(), batch)
    for name in recipe_names():
        outcome, _ = learn(Chain(**recipe(name)), batch)
        print(name, outcome.audit is None or outcome.audit.change.shape)
"""

ONE_DIMENSION_TOO_FEW = "predicted_class(torch.zeros(3))"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PREPARE + code], capture_output=True, text=True, check=False)


def test_every_stage_and_recipe_keeps_its_shapes() -> None:
    done = run(RUN_EVERYTHING)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "label-revision" in done.stdout


def test_a_wrong_shape_would_be_noticed() -> None:
    done = run(ONE_DIMENSION_TOO_FEW)
    assert done.returncode != 0
    assert "TypeCheckError" in done.stderr
