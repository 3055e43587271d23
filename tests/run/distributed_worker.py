"""Distillation by processes, one of which may kill itself: ``torchrun ... OUT TEACHER SHARD [KILLED EPOCH]``."""

import os
import signal
import sys

import torch

import preceptor
from preceptor.launched import restarts
from preceptor.training import Callback, Step, Trainer
from preceptor.training.distributed import rank


class Killer(Callback):
    """Kills process ``number``, in its first life, in the midst of an epoch."""

    def __init__(self, number: int, epoch: int) -> None:
        self.number, self.epoch = number, epoch

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        if (rank(), step.epoch, step.number, restarts()) == (self.number, self.epoch, 2, 0):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, teacher, shard, *killed = sys.argv[1:]
    callbacks = [Killer(*map(int, killed))] if killed else []
    result = preceptor.distill(
        teacher,
        "convnet4",
        "digits",
        "kd",
        out=out,
        epochs=3,
        batch_size=128,
        precision="fp32",
        device="cpu",
        callbacks=callbacks,
        checkpoint_seconds=0,
        shard=shard == "shard",
        progress=False,
    )
    sys.stdout.write(f"measured {result.test.accuracy}\n")  # in one piece: processes share their output
