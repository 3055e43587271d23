"""Batches for property tests."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from preceptor.context import predicted_class
from preceptor.teachers.base import TeacherOutput


@dataclass(frozen=True)
class LogitBatch:
    """Logits of a teacher and a student, with labels."""

    teacher: Tensor
    student: Tensor
    label: Tensor

    @property
    def teacher_class(self) -> Tensor:
        return predicted_class(self.teacher)

    @property
    def wrong(self) -> Tensor:
        return (self.label >= 0) & (self.teacher_class != self.label)

    def outputs(self, temperature: float = 1.0) -> TeacherOutput:
        return TeacherOutput((self.teacher / temperature).log_softmax(dim=1))


temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0, 20.0])


@st.composite
def logit_batches(draw: st.DrawFn, *, unlabeled: bool = False, largest: float = 30.0) -> LogitBatch:
    """Float64 logits of 1 to 6 samples and 2 to 6 classes; half-steps, so that ties occur."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 6)))
    steps = st.integers(int(-2 * largest), int(2 * largest))
    teacher, student = torch.from_numpy(draw(arrays(np.int64, (2, *shape), elements=steps)) / 2)
    labels = st.integers(-1 if unlabeled else 0, shape[1] - 1)
    label = torch.tensor(draw(st.lists(labels, min_size=shape[0], max_size=shape[0])))
    return LogitBatch(teacher, student, label)
