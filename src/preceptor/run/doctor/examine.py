"""The examination of a run: every check in order, without training it and without writing anything."""

from collections.abc import Callable, Iterator
from contextlib import closing

import torch
from torch import Tensor

from preceptor.component_types import declares
from preceptor.context import UNLABELED
from preceptor.data import Normalization, subset
from preceptor.errors import InputError
from preceptor.registry import registered_name
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig
from preceptor.run.doctor import teacher_checks
from preceptor.run.doctor.data_checks import duplicates_finding, labels_finding, shapes_finding
from preceptor.run.doctor.finding import Diagnosis, Finding
from preceptor.run.doctor.normalization import (
    common_normalizations,
    normalization_finding,
    unnormalized_finding,
)
from preceptor.run.doctor.probe import loss_finding, probe_losses
from preceptor.run.doctor.quick_student import FEWEST_IMAGES, MOST_IMAGES, quick_student, quick_student_finding
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, set_up, training_steps
from preceptor.run.teachers import LoadedTeacher
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.label_order import LabelOrder, label_order
from preceptor.teachers.onnx import OnnxTeacher
from preceptor.training import NotFinite, Student
from preceptor.training.checks import check_students
from preceptor.training.compile import check_compile
from preceptor.training.device import choose_device, deterministic

QUERIED = 64
"""Images whose logits are looked at."""

FEWEST_CLASSIFIED, MOST_CLASSIFIED = 200, 1000
"""Labeled images that are classified under each normalization, if there are so many: of large images fewer, ..."""

PIXELS_CLASSIFIED = 2**22
"""... so that all of them have about this many pixels."""


Progress = Callable[[str], None]
"""Called with the name of a check before it is made."""


def examine(config: RunConfig, quick: bool = False, progress: Progress = lambda check: None) -> Diagnosis:
    """Check data, teacher, student and recipe of a run.

    Nothing is written: the teacher is queried without its cache. Whatever would keep the run from starting is a
    finding too, and the last one. A selection by score is fitted as in the run.

    Args:
        config: of the run.
        quick: only the checks of :func:`quick_look`; default False.
        progress: called with the name of each check that may take long, before it is made.

    Raises:
        MachineError: no such device, or a package is missing.
    """
    device = choose_device(config.device)
    if config.teachers:
        config = config.model_copy(update={"cache": None, "cache_top_k": None})
    with deterministic():
        progress("loading, and the teacher on the training images")
        try:
            context = set_up(config, device)
        except InputError as error:
            return Diagnosis((_set_up_problem(error),), quick)
        with closing(context):
            findings = list(_quick_findings(context))
            if not quick:
                findings += _slow_findings(config, context, progress)
            return Diagnosis(tuple(findings), quick)


def quick_look(context: RunContext) -> Diagnosis:
    """The checks that cost next to nothing once a run is set up."""
    return Diagnosis(tuple(_quick_findings(context)), quick=True)


def _quick_findings(context: RunContext) -> Iterator[Finding]:
    data, teacher, answers = context.dataset, context.teacher, context.teacher_predictions
    yield shapes_finding(data, context.network, None if teacher is None else teacher.kind)
    yield labels_finding(data.train.labels[context.index], data.class_names)
    order = _label_order(context)
    if order is not None and answers is not None:
        confusion = answers.confusion(data.classes)
        yield teacher_checks.accuracy_finding(order, confusion, data.class_names)
        yield teacher_checks.order_finding(order, data.class_names)
        correction = context.loss.correction
        name = None if correction is None else registered_name(correction)
        weighs = declares(correction, "wants_context")
        audited = context.loss.verdicts is not None
        yield teacher_checks.disagreement_finding(answers, name, _corrected(context), audited, weighs)
        if context.recipe.suits is not None:
            yield teacher_checks.range_finding(answers, context.recipe)
    if teacher is not None and answers is not None:
        images, index = _queried(context)
        for name, kind, one in _each(teacher):
            logits = one.outputs(images, index, torch.full_like(index, context.augmentation.identity)).logits
            yield teacher_checks.logits_finding(logits, name, kind)
    files = [] if teacher is None else [member.path for member in teacher.members if member.kind == "file"]
    if files:
        yield teacher_checks.views_finding(files, context.augmentation.count > 1)


def _slow_findings(config: RunConfig, context: RunContext, progress: Progress) -> Iterator[Finding]:
    data, teacher, answers = context.dataset, context.teacher, context.teacher_predictions
    progress("duplicates")
    yield duplicates_finding(data.train_and_validation(), data.test, context.held_out)
    if teacher is not None and answers is not None:
        progress("determinism")
        view = context.augmentation.identity
        yield teacher_checks.determinism_finding(teacher.networks, teacher.teacher, *_queried(context), view)
        yield from _normalization_findings(teacher, context, progress)
        yield from _quick_student_findings(context, progress)
    try:
        progress("selection")
        resolve_selection(config, context)  # first: a student whose selection is not fitted is refused
        check_students([Student("student", context.network, context.loss)], training_steps(config, context))
        check_compile(config.compile, context.train.images.device, config.training)
        teacher = resolve_teacher(config, context, compiled=False)
    except InputError as error:
        yield _set_up_problem(error)
        return
    if answers is not None:
        distilled = context.loss.teacher_mask(answers.index).cpu()
        if context.loss.selection is not None and not bool(distilled.all()):
            yield teacher_checks.selection_finding(distilled)
        correction = context.loss.correction
        apply_to = None if correction is None else correction.apply_to
        yield teacher_checks.correction_finding(apply_to, _corrected(context) & distilled)
    progress("loss scale")
    try:
        scales = probe_losses(config, context, None if teacher is None else teacher.teacher)
    except NotFinite as error:
        remedy = "check the teacher's logits and the options of the loss"
        yield Finding("loss scale", "problem", str(error), remedy)
    else:
        yield loss_finding(scales)


def _set_up_problem(error: InputError) -> Finding:
    return Finding("set-up", "problem", str(error), "no further check was made; correct this first")


def _label_order(context: RunContext) -> LabelOrder | None:
    """The order of the teacher's classes; None without a teacher or without a label."""
    if context.teacher_predictions is None or not bool(context.teacher_predictions.labeled.any()):
        return None
    return label_order(context.teacher_predictions.confusion(context.dataset.classes))


def _queried(context: RunContext) -> tuple[Tensor, Tensor]:
    """Some training images on the device, and their index on the CPU."""
    assert context.teacher_predictions is not None
    index = context.teacher_predictions.index[:QUERIED]
    return context.train.images[index.to(context.train.images.device)], index


def _corrected(context: RunContext) -> Tensor:
    """Whether the correction changes what the teacher says of each image that it has answered; on the CPU."""
    answers = context.teacher_predictions
    assert answers is not None
    return context.loss.corrected(answers.index, answers.label, answers.predicted)


def _each(teacher: LoadedTeacher) -> Iterator[tuple[str, str, Teacher]]:
    """Name, kind and teacher of each member of an ensemble; of one teacher alone as it teaches."""
    if len(teacher.members) < 2:
        yield "the teacher", teacher.kind, teacher.teacher
    else:
        for number, member in enumerate(teacher.members, start=1):
            yield f"teacher {number}", member.kind, member.teacher


def _some_labeled(labels: Tensor, index: Tensor, count: int) -> Tensor:
    """So many labeled images at most, of every class its share."""
    labeled = index[labels[index] != UNLABELED]
    return labeled[subset(labels[labeled], min(count, len(labeled)), seed=0)]


def _right_outputs(labels: Tensor, order: LabelOrder) -> Tensor:
    """The right outputs. Classes in another order are judged in that order: one fault is not reported as two."""
    return torch.tensor(order.order)[labels] if order.is_another else labels


def _normalization_findings(teacher: LoadedTeacher, context: RunContext, progress: Progress) -> Iterator[Finding]:
    """One finding for each teacher."""
    order, data = _label_order(context), context.dataset
    if order is None or not isinstance(data.normalization, Normalization):
        return
    height, width = data.size
    count = max(FEWEST_CLASSIFIED, min(MOST_CLASSIFIED, PIXELS_CLASSIFIED // (height * width)))
    index = _some_labeled(data.train.labels, context.index, count)
    images = context.train.images[index.to(context.train.images.device)]
    outputs = _right_outputs(data.train.labels[index], order)
    others = common_normalizations(data.channels, data.normalization)
    for number, (name, kind, one) in enumerate(_each(teacher)):
        member = teacher.members[number].teacher if teacher.members else one
        if isinstance(member, NetworkTeacher | OnnxTeacher) and isinstance(member.normalize, Normalization):
            yield normalization_finding(name, member, images, outputs, others, progress)
        else:
            yield unnormalized_finding(name, kind)


def _quick_student_findings(context: RunContext, progress: Progress) -> Iterator[Finding]:
    answers, order = context.teacher_predictions, _label_order(context)
    if answers is None or order is None:
        return
    index = _some_labeled(context.dataset.train.labels, answers.index, MOST_IMAGES)
    if len(index) < FEWEST_IMAGES:
        return
    progress("quick student")
    labels = context.dataset.train.labels[index]
    predicted = torch.zeros(len(context.train.labels), dtype=torch.long)
    predicted[answers.index] = answers.predicted
    right = predicted[index] == _right_outputs(labels, order)
    yield quick_student_finding(right, quick_student(context.dataset.train.images[index], labels))
