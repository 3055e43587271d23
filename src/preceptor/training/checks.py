"""Checks of a training before its first step. All raise InputError."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from preceptor.component_types import declares
from preceptor.data import Augmentation, TwoViews
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.registry import registered_name
from preceptor.teachers.base import Teacher, looks_up
from preceptor.training.batches import TrainingData, steps_in_epoch
from preceptor.training.compile import Compile, check_compile
from preceptor.training.config import TrainingConfig
from preceptor.training.distributed import world_size
from preceptor.training.mixing import check_mixable

if TYPE_CHECKING:
    from preceptor.training.student import Student


def check_training(
    students: "Sequence[Student]",
    teacher: Teacher | None,
    data: TrainingData,
    config: TrainingConfig,
    compile: Compile,  # noqa: A002
    *,
    shard: bool,
) -> None:
    """Refuse whatever a trainer would meet in the midst of its training.

    Raises:
        InputError: students, teacher, data and settings that do not fit each other.
        MachineError: CUDA graphs on another device.
    """
    losses = [student.loss for student in students]
    check_students(students, config.epochs * steps_in_epoch(len(data.index), config.batch_size))
    check_same_batches(students, config)
    check_teacher_given(students, teacher)
    check_mixing(config, losses, stored=looks_up(teacher))
    check_two_views(config, losses, data.augmentation)
    if config.mixes:
        check_mixable(config, data.probe(2))
    for student in students:
        check_compile(compile, data.device, student.training_config or config)
    check_several_processes(compile, students, config)
    if shard:
        check_shard(students, config)


def check_students(students: "Sequence[Student]", steps: int) -> None:
    """Refuse students of one name, or of one loss with features; a component that is not fitted; and a term in whose
    time span none of the training's steps begins (it would train nothing, unnoticed)."""
    names = [student.name for student in students]
    if not names or len(set(names)) < len(names):
        raise InputError(f"students {names}: give at least one, each with a name of its own")
    for number, student in enumerate(students):
        if student.loss.feature_losses and any(student.loss is other.loss for other in students[:number]):
            raise InputError(
                f"student {student.name!r}: its loss is another student's too, and a feature loss learns or remembers "
                "for one network: give each student a DistillationLoss of its own"
            )
        unfitted = student.loss.unfitted
        if unfitted:
            raise InputError(
                f"student {student.name!r}: {registered_name(unfitted[0])} of its loss is not fitted: call "
                "loss.fit(selection_data), or set_scores(...) of a selection, before training"
            )
        for name, term in student.loss.terms.items():
            first = math.ceil(term.since * steps)
            if not any(term.is_active(step / steps) for step in (first - 1, first, first + 1) if 0 <= step < steps):
                raise InputError(
                    f"student {student.name!r}: term {name!r} is active from {term.since:g} to {term.until:g} of "
                    f"training, but none of the {steps} steps begins then: train longer, or give the term more time"
                )


def check_same_batches(students: "Sequence[Student]", config: TrainingConfig) -> None:
    """Refuse a student whose own training divides the data otherwise."""
    for student in students:
        own = student.training_config or config
        if (own.mixup, own.cutmix) != (config.mixup, config.cutmix):
            raise InputError(
                f"student {student.name!r}: mixup {own.mixup:g} and cutmix {own.cutmix:g}, and the trainer "
                f"{config.mixup:g} and {config.cutmix:g}: students are trained together on the same batches"
            )
        if (own.epochs, own.batch_size) != (config.epochs, config.batch_size):
            raise InputError(
                f"student {student.name!r}: {own.epochs} epochs in batches of {own.batch_size}, and the trainer "
                f"{config.epochs} in batches of {config.batch_size}: students are trained together on the same batches"
            )


def check_mixing(
    config: TrainingConfig, losses: Sequence[DistillationLoss], *, stored: bool = False, audited: bool = False
) -> None:
    """Refuse mixup and cutmix with a loss that decides by the label, and with anything that is known of single images.

    Args:
        config: whose ``mixup`` and ``cutmix`` count.
        losses: of all students.
        stored: whether the teacher's outputs are looked up, see :func:`~preceptor.teachers.base.looks_up`.
        audited: whether there is an audit.
    """
    if not config.mixes:
        return
    for loss in losses:
        loss.check_mixing()
    if audited or any(loss.audited for loss in losses):
        raise InputError(
            "an audit judges single images, and mixup and cutmix show images mixed of two: leave the audit out, or both"
        )
    if stored:
        raise InputError(
            "the teacher's outputs are looked up by image and view (a cache or a file), and mixup and cutmix show "
            "images mixed of two, paired anew in every step: give a teacher that is queried live, without a cache, or "
            "leave both out"
        )


def check_two_views(config: TrainingConfig, losses: Sequence[DistillationLoss], augmentation: Augmentation) -> None:
    """Refuse a loss that compares two views of a sample where one is shown; and two with mixed inputs, or with a
    component that keeps one value a sample."""
    two = isinstance(augmentation, TwoViews)
    for loss in losses:
        for name, term in loss.terms.items():
            if declares(term.loss, "two_views") and not two:
                raise InputError(
                    f"term {name!r} compares two views of each image, and one is shown: give a weak and a strong "
                    "augmentation, such as --augment crop-flip,crop-flip+randaugment:10"
                )
        keeps = [one for one in loss.components if hasattr(one, "expect_samples")]
        if two and keeps:
            raise InputError(
                f"{registered_name(keeps[0])} keeps a value for every sample, and each is shown in two views at once: "
                "give one augmentation"
            )
    if two and config.mixes:
        raise InputError("mixup and cutmix mix two images, and two views are of one: leave either out")


def check_teacher_given(students: "Sequence[Student]", teacher: Teacher | None) -> None:
    """Refuse a loss without its teacher, and something that is no teacher."""
    if teacher is None:
        if any(student.loss.uses_teacher for student in students):
            raise InputError("a loss compares with the teacher, and teacher is None: give one")
    elif not isinstance(teacher, Teacher):
        raise InputError(
            f"teacher: a {type(teacher).__name__}, which has no method outputs(inputs, index, view): wrap a network in "
            "NetworkTeacher(network, normalization)"
        )


def check_several_processes(
    compile: Compile,  # noqa: A002
    students: "Sequence[Student]",
    config: TrainingConfig,
) -> None:
    """Refuse what several processes cannot do.

    Raises:
        InputError: fewer samples a batch than processes, compiled students, or an optimizer of several gradients.
    """
    processes = world_size()
    if config.batch_size < processes:
        raise InputError(
            f"batch_size = {config.batch_size}, for {processes} processes: it is that of all together: give each at "
            "least one sample"
        )
    for student in students:
        own = student.training_config or config
        if processes > 1 and own.separates_gradients:
            raise InputError(
                f"optimizer = {own.optimizer}: takes several gradients, and processes average one: use sgd"
            )
    if processes > 1 and compile in ("always", "graph"):
        raise InputError(f"compile = {compile}: several processes train uncompiled students: use auto or never")


def check_shard(students: "Sequence[Student]", config: TrainingConfig) -> None:
    """Refuse what needs students whole, where they are divided among processes.

    Raises:
        InputError: a moving average, or a norm over divided gradients and a loss's own.
    """
    for student in students:
        own = student.training_config or config
        if own.ema is not None:
            raise InputError("shard: ema keeps a second copy of the weights, which are divided: leave one of them out")
        if own.clip_norm is not None and any(True for _ in student.loss.parameters()):
            raise InputError("shard: clip_norm with a loss that has parameters of its own: leave one of them out")
