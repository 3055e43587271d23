"""Students of any input: a text classifier trains through the same trainer as an image classifier."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from preceptor import DistillationLoss, InputError
from preceptor.teachers import NetworkTeacher
from preceptor.training import Student, Trainer, TrainingConfig, TrainingData
from tests.training_helpers import Records, StateAfter, same_bits, weights

CLASSES, WORDS, LENGTH = 3, 30, 7


class TextClassifier(nn.Module):
    """Mean embedding of the tokens that the mask keeps; returns an object with logits, as transformers do."""

    def __init__(self, seed: int, width: int = 8) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding, self.head = nn.Embedding(WORDS, width), nn.Linear(width, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        mask = attention_mask.unsqueeze(2).float()
        mean = (self.embedding(input_ids) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return SimpleNamespace(logits=self.head(mean))


def texts(samples: int = 60) -> TrainingData:
    """Texts whose class is told by which third of the vocabulary most of their words are from."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(samples) % CLASSES
    words = torch.randint(0, WORDS // CLASSES, (samples, LENGTH), generator=generator) + label[:, None] * 10
    mask = (torch.rand(samples, LENGTH, generator=generator) > 0.3).long()
    return TrainingData({"input_ids": words, "attention_mask": mask}, label)


def trainer(network: nn.Module, *callbacks, epochs: int = 8) -> Trainer:
    config = TrainingConfig(epochs=epochs, batch_size=10, optimizer="adamw", learning_rate=0.02, schedule="constant")
    teacher = NetworkTeacher(TextClassifier(seed=1), None)
    student = Student("text", network, DistillationLoss.from_recipe("ka-ps"))
    return Trainer([student], teacher, texts(), config, callbacks, precision="fp32", compile="never")


def test_a_text_classifier_learns_from_a_corrected_teacher() -> None:
    records = Records()
    trainer(TextClassifier(seed=0), records).fit()
    first, last = records.epochs[0][0], records.epochs[-1][0]
    assert last.total < 0.7 * first.total
    assert last.corrected > 0  # the untrained teacher is wrong somewhere
    assert last.train_accuracy > 0.8  # chance is 1/3; no label term: the corrected teacher teaches the label


def test_it_resumes_in_the_same_bits() -> None:
    whole, kept = TextClassifier(seed=0), StateAfter(10)
    trainer(whole, kept).fit()
    late = TextClassifier(seed=5)
    trainer(late).fit(kept.state())
    assert same_bits(weights(whole), weights(late))


@pytest.mark.parametrize("options", [{"bf16": True}, {"bf16": False, "compile": True}])
def test_an_optimized_teacher_answers_nearly_as_before(options) -> None:
    teacher, batch = NetworkTeacher(TextClassifier(seed=1), None), texts(10).inputs
    optimized = teacher.optimize_for_inference(**options, batch_size=4)
    assert torch.allclose(optimized(batch), teacher(batch), atol=0.02)


def test_every_tensor_has_a_row_a_label() -> None:
    with pytest.raises(InputError, match=r"inputs\['mask'\]: 3 rows, but 4 labels"):
        TrainingData({"ids": torch.zeros(4, 2), "mask": torch.zeros(3, 2)}, torch.zeros(4, dtype=torch.int64))
