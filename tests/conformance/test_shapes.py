"""The shape annotations hold: every component and recipe is run with all of them checked, in a process of its own."""

import subprocess
import sys

CHECKED_ROOMS = ["context", "loss", "loss_terms", "corrections", "temperatures", "selections", "losses", "label_losses", "abstention"]

PREPARE = f"""
from jaxtyping import install_import_hook
rooms = [f"preceptor.{{name}}" for name in {CHECKED_ROOMS!r}]
hook = install_import_hook(rooms, "beartype.beartype")
import torch
from preceptor import DistillationLoss, recipe, recipe_names
from preceptor.registry import components
from preceptor.conformance.batch import plain_batch, plain_evidence, with_reservation
from preceptor.conformance.check import Subject, learn
from preceptor.context import predicted_class
"""

RUN_EVERYTHING = """
for batch in (plain_batch(), plain_batch(dtype=torch.float64), with_reservation(plain_batch())):
    for info in components():
        learn(Subject(info).loss(), Subject(info).suited(batch))
    for name in recipe_names():
        chain = DistillationLoss(**recipe(name))
        chain.fit(plain_evidence(batch.teacher.dtype))
        chain.expect_samples(int(batch.index.max()) + 1)
        outcome, _ = learn(chain, with_reservation(batch) if chain.abstains else batch)
        print(name, outcome.audit is None or outcome.audit.change.shape)
"""

ONE_DIMENSION_TOO_FEW = """
try:
    predicted_class(torch.zeros(3))
except Exception as error:
    print(type(error).__name__)
"""


def test_every_stage_and_recipe_keeps_its_shapes() -> None:
    code = PREPARE + RUN_EVERYTHING + ONE_DIMENSION_TOO_FEW
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert any(line.startswith("label-revision ") for line in lines)
    assert lines[-1] == "TypeCheckError", "a wrong shape went unnoticed"
