"""The examination: everything that is to be known before a run, found without training and without writing."""

from contextlib import closing

import torch
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data import subset
from preceptor.errors import InputError
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig
from preceptor.run.doctor import teacher_checks
from preceptor.run.doctor.cost import (
    Size,
    capacity_finding,
    duration,
    memory,
    memory_finding,
    size_of,
    time_finding,
)
from preceptor.run.doctor.data_checks import duplicates, duplicates_finding, labels_finding
from preceptor.run.doctor.finding import Diagnosis, Finding
from preceptor.run.doctor.first_steps import FirstSteps, loss_finding
from preceptor.run.doctor.normalization import LOOKED_AT, common_normalizations, normalization_finding, rivals
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, prepare
from preceptor.run.teachers import LoadedTeacher
from preceptor.teachers.label_order import LabelOrder, label_order
from preceptor.training import Student
from preceptor.training.device import choose_device, deterministic
from preceptor.training.trainer import check_fit

ASKED_TWICE = 64
"""Images that the teacher is asked about twice."""


def examine(config: RunConfig, quick: bool = False) -> Diagnosis:
    """Look at a run before it is run: data, teacher, student and recipe.

    Nothing is written: a cache in front of a teacher is left aside, and the teacher asked itself. What would keep the
    run from starting is a finding too, the last one then. A selection by score is fitted as the run would fit it.

    Args:
        config: of the run.
        quick: only what costs nothing beside loading everything, as at the start of a run; default False.

    Raises:
        MachineError: no such device, or a package is missing.
    """
    device, asks_itself = choose_device(config.device), config.cache is not None and bool(config.teachers)
    if asks_itself:
        config = config.model_copy(update={"cache": None, "cache_top_k": None})
    with deterministic():
        try:
            material = prepare(config, device)
        except InputError as error:
            return Diagnosis((_obstacle(error),), quick)
        with closing(material):
            found = quick_findings(material)
            return Diagnosis(tuple(found if quick else [*found, *_thorough(config, material, asks_itself)]), quick)


def quick_look(material: RunContext) -> Diagnosis:
    """What can be told at the start of a run from what was loaded and asked anyway."""
    return Diagnosis(tuple(quick_findings(material)), quick=True)


def quick_findings(material: RunContext) -> list[Finding]:
    """Shapes, labels, capacity, and what the teacher answered about the training images."""
    data, kind = material.dataset, None if material.teacher is None else material.teacher.kind
    labels = data.train.labels[material.positions]
    found = [
        teacher_checks.shapes_finding(data.classes, data.channels, data.size, kind),
        labels_finding(labels, data.class_names),
        _capacity(material),
    ]
    order = _order(material)
    if order is None or material.answers is None:
        return found
    confusion = material.answers.confusion(data.classes)
    return [
        *found,
        teacher_checks.accuracy_finding(order, confusion),
        teacher_checks.order_finding(order, data.class_names),
        teacher_checks.variety_finding(confusion, data.class_names),
    ]


def _thorough(config: RunConfig, material: RunContext, asks_itself: bool) -> list[Finding]:
    data = material.dataset
    found = [duplicates_finding(duplicates(data.train, data.test, material.held_out))]
    if material.teacher is not None:
        found += [*_about(material.teacher, material), *_normalizations(material.teacher, material)]
    try:
        pupil = Student("student", material.student, material.loss)
        check_fit([pupil], material.positions, config.training, config.compile, material.train.images.device)
        resolve_selection(config, material)
        teacher = resolve_teacher(config, material, compiled=False)
    except InputError as error:
        return [*found, _obstacle(error)]
    if material.teacher is not None:
        found += _corrections(material)
    return [*found, *_first_steps(config, material, teacher, asks_itself)]


def _obstacle(error: InputError) -> Finding:
    return Finding("set-up", "problem", str(error), "nothing further was looked at; mend this first")


def _order(material: RunContext) -> LabelOrder | None:
    if material.answers is None or not bool(material.answers.labeled.any()):
        return None
    return label_order(material.answers.confusion(material.dataset.classes))


def _about(teacher: LoadedTeacher, material: RunContext) -> list[Finding]:
    """Whether the teacher is at rest, and its logits on some images."""
    if material.answers is None:
        return []
    some = material.answers.position[:ASKED_TWICE]
    images = material.train.images[some.to(material.train.images.device)]
    identity = material.rule.identity
    said = teacher.teacher.outputs(images, some, torch.full_like(some, identity)).logits
    rest = teacher_checks.rest_finding(teacher.networks, teacher.teacher, images, some, identity)
    return [rest, teacher_checks.constant_finding(said)]


def _normalizations(teacher: LoadedTeacher, material: RunContext) -> list[Finding]:
    """Of each network that the teacher consists of. Where its classes are in another order, it is held to that one."""
    order = _order(material)
    if order is None:
        return []
    images, labels = _labeled_sample(material)
    meant = torch.tensor(order.order)[labels] if order.is_another else labels
    others = common_normalizations(material.dataset.channels, material.dataset.normalization)
    found = []
    for number, network in enumerate(teacher.networks, start=1):
        whose = "the teacher" if len(teacher.members) == 1 else f"network {number} of the teacher"
        found.append(normalization_finding(whose, *rivals(network, images, meant, others), len(labels)))
    return found


def _labeled_sample(material: RunContext) -> tuple[Tensor, Tensor]:
    """Images on the device and labels of a stratified sample of what is trained on."""
    labels = material.dataset.train.labels[material.positions]
    known = material.positions[labels != UNLABELED]
    chosen = known[subset(material.dataset.train.labels[known], min(LOOKED_AT, len(known)), seed=0)]
    return material.train.images[chosen.to(material.train.images.device)], material.dataset.train.labels[chosen]


def _capacity(material: RunContext) -> Finding:
    image = material.dataset.train.images[:1]
    student = size_of(material.student, material.dataset.normalization(image))
    teacher = material.teacher
    if teacher is None or not teacher.networks or len(teacher.networks) < len(teacher.members):
        return capacity_finding(student, None)
    sizes = [size_of(net.network, net.normalize(image.to(net.device))) for net in teacher.networks]
    return capacity_finding(student, Size(sum(s.parameters for s in sizes), sum(s.flops for s in sizes)))


def _corrections(material: RunContext) -> list[Finding]:
    """How many samples the correction will touch, the selection being settled."""
    if material.answers is None:
        return []
    answers, correct = material.answers, material.loss.correction
    touches = answers.wrong if correct is None or correct.apply_to == "wrong" else answers.labeled
    heard = material.loss.cpu().teacher_mask(answers.position)
    found = [teacher_checks.correction_finding(None if correct is None else correct.apply_to, touches & heard)]
    if material.loss.selection is not None and not bool(heard.all()):
        share = float(heard.double().mean())
        numbers = {"images": len(heard), "taught": int(heard.sum()), "share": share}
        sentence = f"the teacher will teach {int(heard.sum()):,} of {len(heard):,} images ({share:.2%})"
        found.append(Finding("selection", "ok", sentence, "", numbers))
    return found


def _first_steps(
    config: RunConfig, material: RunContext, teacher: LoadedTeacher | None, asks_itself: bool
) -> list[Finding]:
    """What the first steps of the run are like, taken on a copy."""
    first = FirstSteps(config, material, None if teacher is None else teacher.teacher)
    device = first.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    scales = loss_finding(first.scales())
    taken = duration(config, material, first)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return [
        scales,
        memory_finding(memory(config, material, peak)),
        time_finding(taken, min(config.training.batch_size, len(material.positions)), asks_itself),
    ]
