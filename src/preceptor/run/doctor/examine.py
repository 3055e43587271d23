"""The examination of a run: every check in order, without training it and without writing anything."""

from contextlib import closing

import torch
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data import subset
from preceptor.errors import InputError
from preceptor.registry import declares, registered_name
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig
from preceptor.run.doctor import teacher_checks
from preceptor.run.doctor.data_checks import duplicates_finding, labels_finding, shapes_finding
from preceptor.run.doctor.finding import Diagnosis, Finding
from preceptor.run.doctor.normalization import common_normalizations, normalization_finding
from preceptor.run.doctor.probe import loss_finding, probe_losses
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, set_up, training_steps
from preceptor.run.teachers import LoadedTeacher
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.label_order import LabelOrder, label_order
from preceptor.teachers.onnx import OnnxTeacher
from preceptor.training import NotFinite, Student
from preceptor.training.checks import check_students
from preceptor.training.compile import check_compile
from preceptor.training.device import choose_device, deterministic

QUERIED = 64
"""Images whose logits are looked at."""

CLASSIFIED = 1000
"""Labeled images that are classified under each normalization, at most."""


def examine(config: RunConfig, quick: bool = False) -> Diagnosis:
    """Check data, teacher, student and recipe of a run.

    Nothing is written: the teacher is queried without its cache. Whatever would keep the run from starting is a
    finding too, and the last one. A selection by score is fitted as in the run.

    Args:
        config: of the run.
        quick: only the checks of :func:`quick_look`; default False.

    Raises:
        MachineError: no such device, or a package is missing.
    """
    device = choose_device(config.device)
    if config.teachers:
        config = config.model_copy(update={"cache": None, "cache_top_k": None})
    with deterministic():
        try:
            context = set_up(config, device)
        except InputError as error:
            return Diagnosis((_set_up_problem(error),), quick)
        with closing(context):
            findings = _quick_findings(context)
            return Diagnosis(tuple(findings if quick else [*findings, *_slow_findings(config, context)]), quick)


def quick_look(context: RunContext) -> Diagnosis:
    """The checks that cost next to nothing once a run is set up."""
    return Diagnosis(tuple(_quick_findings(context)), quick=True)


def _quick_findings(context: RunContext) -> list[Finding]:
    data, teacher = context.dataset, context.teacher
    findings = [
        shapes_finding(data, context.network, None if teacher is None else teacher.kind),
        labels_finding(data.train.labels[context.index], data.class_names),
    ]
    order = _label_order(context)
    if order is not None and context.teacher_predictions is not None:
        confusion = context.teacher_predictions.confusion(data.classes)
        findings.append(teacher_checks.accuracy_finding(order, confusion, data.class_names))
        findings.append(teacher_checks.order_finding(order, data.class_names))
        correction = context.loss.correction
        name = None if correction is None else registered_name(correction)
        weighs = declares(correction, "wants_context")
        audited = context.loss.audited
        findings.append(teacher_checks.disagreement_finding(context.teacher_predictions, name, audited, weighs))
    if teacher is not None and context.teacher_predictions is not None:
        images, index = _queried(context)
        logits = teacher.teacher.outputs(images, index, torch.full_like(index, context.augmentation.identity)).logits
        findings.append(teacher_checks.logits_finding(logits))
    return findings


def _slow_findings(config: RunConfig, context: RunContext) -> list[Finding]:
    data, teacher, answers = context.dataset, context.teacher, context.teacher_predictions
    findings = [duplicates_finding(data.train_and_validation(), data.test, context.held_out)]
    if teacher is not None and answers is not None:
        view = context.augmentation.identity
        findings.append(teacher_checks.determinism_finding(teacher.networks, teacher.teacher, *_queried(context), view))
        findings += _normalization_findings(teacher, context)
    try:
        resolve_selection(config, context)  # first: a student whose selection is not fitted is refused
        check_students([Student("student", context.network, context.loss)], training_steps(config, context))
        check_compile(config.compile, context.train.images.device)
        teacher = resolve_teacher(config, context, compiled=False)
    except InputError as error:
        return [*findings, _set_up_problem(error)]
    if answers is not None:
        distilled = context.loss.teacher_mask(answers.index).cpu()
        if context.loss.selection is not None and not bool(distilled.all()):
            findings.append(teacher_checks.selection_finding(distilled))
        correction = context.loss.correction
        corrected = answers.labeled if correction is not None and correction.apply_to == "all" else answers.wrong
        apply_to = None if correction is None else correction.apply_to
        findings.append(teacher_checks.correction_finding(apply_to, corrected & distilled))
    try:
        scales = probe_losses(config, context, None if teacher is None else teacher.teacher)
    except NotFinite as error:
        remedy = "check the teacher's logits and the options of the loss"
        return [*findings, Finding("loss scale", "problem", str(error), remedy)]
    return [*findings, loss_finding(scales)]


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


def _normalization_findings(teacher: LoadedTeacher, context: RunContext) -> list[Finding]:
    """One finding for each teacher with a normalization: networks and ONNX files."""
    order, data = _label_order(context), context.dataset
    if order is None:
        return []
    labels = data.train.labels[context.index]
    labeled = context.index[labels != UNLABELED]
    index = labeled[subset(data.train.labels[labeled], min(CLASSIFIED, len(labeled)), seed=0)]
    images, labels = context.train.images[index.to(context.train.images.device)], data.train.labels[index]
    # A teacher whose classes are in another order is judged in that order, so that one fault is not reported as two.
    outputs = torch.tensor(order.order)[labels] if order.is_another else labels
    others = common_normalizations(data.channels, data.normalization)
    findings = []
    for number, member in enumerate(teacher.members, start=1):
        if isinstance(member.teacher, NetworkTeacher | OnnxTeacher) and member.teacher.normalize is not None:
            name = "the teacher" if len(teacher.members) == 1 else f"teacher {number}"
            findings.append(normalization_finding(name, member.teacher, images, outputs, others))
    return findings
