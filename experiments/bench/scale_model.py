"""What a training step takes by a simple model: counts of work over rates of the machine, and what goes between hosts.

    step = max(reading, teacher + student + loss) + communication

Reading (decoding, augmentation) is done ahead by workers, so the slower of the two counts. The students' backward pass
hides some of the communication; the model counts all of it, so that it errs on the slow side where links are slow.
"""

from dataclasses import dataclass

FORWARD_AND_BACKWARD = 3
"""Operations of a training step over those of a forward pass."""

BYTES = 4
"""Of a number that goes between processes."""

BUCKET = 25 * 2**20
"""Bytes of gradients that DistributedDataParallel sends at a time."""


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        batch: samples a step, of all processes together.
        classes: of the logits.
        student_flops, teacher_flops: of a forward pass on one sample; 0 for no teacher, or one behind a cache.
        parameters: of the student.
        batch_norms: layers of them.
        normalized: numbers that go through them, of one sample.
    """

    batch: int
    classes: int
    student_flops: float
    teacher_flops: float
    parameters: int
    batch_norms: int
    normalized: int


@dataclass(frozen=True)
class Rates:
    """What a machine does, each process for itself while the others do the same.

    Attributes:
        student, teacher: operations a second, in training and in the teacher's forward pass.
        update: parameters a second that the optimizer steps.
        loss: logits a second, forward and backward.
        read: samples a second, decoded and augmented.
        latency: seconds of one exchange between processes, however small.
        synchronize: seconds that synchronizing a batch norm of few numbers adds to it, forward and backward.
        normalize: numbers a second of what that adds for many.
        bandwidth: bytes a second of one process's link.
    """

    student: float
    teacher: float
    update: float
    loss: float
    read: float
    latency: float
    synchronize: float
    normalize: float
    bandwidth: float


def step_seconds(work: Work, rates: Rates, processes: int) -> dict[str, float]:
    """The parts of a step, and their ``total``, in seconds.

    Every process computes the loss of the whole batch, and everything else of its own rows.
    """
    own = work.batch / processes
    parts = {
        "reading": own / rates.read,
        "teacher": own * work.teacher_flops / rates.teacher,
        "student": own * FORWARD_AND_BACKWARD * work.student_flops / rates.student + work.parameters / rates.update,
        "loss": work.batch * work.classes / rates.loss,
        "communication": communication_seconds(work, rates, processes),
    }
    computed = parts["teacher"] + parts["student"] + parts["loss"]
    return {**parts, "total": max(parts["reading"], computed) + parts["communication"]}


def communication_seconds(work: Work, rates: Rates, processes: int) -> float:
    """Gathered logits of student and teacher, synchronized batch norms, the buffers, and the gradients' averages."""
    if processes == 1:
        return 0.0
    share = (processes - 1) / processes
    gathers = 2 if work.teacher_flops else 1
    gradients = BYTES * work.parameters
    exchanges = gathers + 1 + -(-gradients // BUCKET)
    sent = gathers * BYTES * work.batch * work.classes * share + 2 * gradients * share
    norms = work.batch_norms * rates.synchronize + work.batch / processes * work.normalized / rates.normalize
    return norms + exchanges * rates.latency + sent / rates.bandwidth
