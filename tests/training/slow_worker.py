"""Two processes train, and the teacher of the second takes its time."""

import time
from typing import Any

import torch
from torch import Tensor

from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.training import TrainingConfig
from preceptor.training.distributed import process_group, rank
from tests.training_helpers import data_of, digits, make_student, network, trainer_of


class Slow(NetworkTeacher):
    """A teacher that takes half a second for a batch, in one process."""

    def outputs(self, inputs: Any, index: Tensor, view: Tensor) -> TeacherOutput:
        time.sleep(0.5 * rank())
        return super().outputs(inputs, index, view)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        teacher = Slow(network(1), digits().normalization)
        trainer_of([make_student("kd")], data_of(), TrainingConfig(epochs=1, batch_size=8), teacher=teacher).fit()
