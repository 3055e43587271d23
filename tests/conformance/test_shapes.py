"""The shape annotations hold: every component and recipe is run with all of them checked, in a process of its own."""

import subprocess
import sys

CHECKED_MODULES = [
    "context",
    "loss",
    "loss_terms",
    "fitting",
    "recalibrations",
    "corrections",
    "temperatures",
    "selections",
    "losses",
    "label_losses",
    "feature_losses",
    "abstention",
]

PREPARE = f"""
from jaxtyping import install_import_hook
modules = [f"preceptor.{{name}}" for name in {CHECKED_MODULES!r}]
hook = install_import_hook(modules, "beartype.beartype")
import torch
from preceptor import DistillationLoss, recipe, recipe_names
from preceptor.component_types import declares
from preceptor.registry import components
from preceptor.conformance.batch import FEATURE_LAYERS, feature_maps, plain_batch, plain_selection_data
from preceptor.conformance.batch import with_reservation
from preceptor.conformance.check import ComponentCase, forward_backward
from preceptor.context import predicted_class
"""

RUN_EVERYTHING = """
for batch in (plain_batch(), plain_batch(dtype=torch.float64), with_reservation(plain_batch())):
    for info in components():
        forward_backward(ComponentCase(info).loss(), ComponentCase(info).adapted(batch))
    for name in recipe_names():
        loss = DistillationLoss(**recipe(name))
        loss.fit(plain_selection_data(batch.teacher.dtype))
        loss.expect_samples(int(batch.index.max()) + 1)
        for feature_loss in loss.feature_losses.values():
            feature_loss.resolve_layers(FEATURE_LAYERS, FEATURE_LAYERS)
        if loss.feature_losses:
            equal = any(declares(one, "equal_channels") for one in loss.feature_losses.values())
            loss.build_adapters(*feature_maps(batch, equal_channels=equal))
            loss.to(batch.teacher.dtype)
        output, _ = forward_backward(loss, with_reservation(batch) if loss.abstains else batch)
        print(name, output.audit is None or output.audit.change.shape)
"""

ONE_DIMENSION_TOO_FEW = """
try:
    predicted_class(torch.zeros(3))
except Exception as error:
    print(type(error).__name__)
"""


def test_every_component_and_recipe_keeps_its_shapes() -> None:
    code = PREPARE + RUN_EVERYTHING + ONE_DIMENSION_TOO_FEW
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert any(line.startswith("label-revision ") for line in lines)
    assert lines[-1] == "TypeCheckError", "a wrong shape went unnoticed"
