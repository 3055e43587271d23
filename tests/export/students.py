"""Small students for the tests of exports, sure of some digits and unsure of others, and decisions for them."""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.metrics import Predictions, confidence
from preceptor.metrics.logits import network_logits
from preceptor.models import CalibrationSet, Decision, ModelCard
from preceptor.run.cards import student_card
from tests.training_helpers import digits, network

SOURCE = CalibrationSet(data="digits", part="held_out", samples=100, fingerprint="0" * 64)


def student(abstains: bool = False, sharpness: float = 30.0, **card: Any) -> tuple[nn.Module, ModelCard]:
    """Untrained, of many minds, and surer of itself the sharper it is."""
    model = network(seed=3, name="convnet4", outputs=10 + abstains).eval()
    with torch.no_grad():
        model.head.weight *= sharpness
        outputs = answers(model, student_card("convnet4", "digits", digits(), abstains), images()).outputs
        model.head.bias -= outputs.mean(dim=0)  # so that every class is predicted for some
    return model, student_card("convnet4", "digits", digits(), abstains=abstains).model_copy(update=card)


def decision(score: str = "softmax_response", threshold: float | None = None, **more: Any) -> Decision:
    guarantee = {"max_risk": 0.02, "confidence": 0.95, "coverage": 0.5, "risk": 0.01, "calibrated_on": SOURCE}
    return Decision(score=score, threshold=threshold, **guarantee, **more)


def images(n: int = 64) -> Tensor:
    return digits().test.images[:n]


def answers(model: nn.Module, card: ModelCard, shown: Tensor) -> Predictions:
    return Predictions(network_logits(model, card.normalization(), shown), card.abstains)


def median_threshold(model: nn.Module, card: ModelCard, score: str, n: int = 64, **options: float) -> float:
    """Between the two scores in the middle, so that half of the images are answered and none lies on it."""
    scores = confidence(score, answers(model, card, images(n)), **options).sort().values
    return float(scores[n // 2 - 1 : n // 2 + 1].mean())
