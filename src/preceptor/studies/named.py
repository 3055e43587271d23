"""The studies that come with the package, each one command."""

from preceptor.errors import unknown_name
from preceptor.studies.faulty_teacher import FaultyTeacher
from preceptor.training import Protocol

RECIPES = ("none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong")

DEMO = FaultyTeacher(
    name="demo",
    title="A student of a faulty teacher, on handwritten digits",
    setting=(
        "A teacher learned handwritten digits from labels in which look-alike digits were taken for each other: 1 and "
        "7, 3 and 8, 4 and 9, 5 and 6; in these classes 40 % of its labels are wrong. The students are given half "
        "of the same images, with the right labels. Teaching can pay because the teacher has learned from more "
        "images than any student is given; labels alone (recipe none) stays in the table to show whether it does."
    ),
    shows=(
        "Whether correcting a faulty teacher gives a better student than taking it at its word, on real images, with "
        "everything else equal: same weights at the start, same batches, same teacher signal under each seed."
    ),
    does_not_show=(
        "How large the gain is for your data and your teacher: the digits are tiny, the teacher was made faulty on "
        "purpose, the right labels of the students' images are known, and few seeds make wide intervals. A teacher "
        "that is nearly always right leaves a correction nothing to do."
    ),
    data="digits",
    pairs=((1, 7), (3, 8), (4, 9), (5, 6)),
    rate=0.4,
    lessons=600,
    teacher="convnet32",
    student="convnet8",
    teacher_protocol=Protocol(epochs=80),
    student_protocol=Protocol(epochs=40),
    recipes=RECIPES,
    seeds=(0, 1, 2),
)

FASHION = FaultyTeacher(
    name="faulty-teacher-fashion-mnist",
    title="A student of a faulty teacher, on Fashion-MNIST",
    setting=(
        "A ResNet-14 learned from 30,000 images of Fashion-MNIST of which 40 % carry a wrong label: each class was "
        "paired with the one it looks most like, and 40 % of its labels were taken for the partner's. ResNet-8 "
        "students are given 4,000 of the same images, with the right labels, for 10 epochs."
    ),
    shows=(
        "Whether correcting a teacher that learned from wrong labels gives a better student than taking it at its "
        "word, with everything else equal: same weights at the start, same batches, same teacher signal under each "
        "seed."
    ),
    does_not_show=(
        "Anything about the full data set or a published schedule: the runs are short, the label noise is made, and "
        "recipes run with their published settings, tuned for nothing here."
    ),
    data="fashion-mnist",
    rate=0.4,
    held_out=0.5,
    lessons=4000,
    teacher="resnet14",
    student="resnet8",
    teacher_protocol=Protocol(epochs=4),
    student_protocol=Protocol(epochs=10),
    recipes=RECIPES,
    seeds=(0, 1, 2),
)

STUDIES = {study.name: study for study in (DEMO, FASHION)}
"""Studies by name."""


def find_study(name: str) -> FaultyTeacher:
    """The study of this name.

    Raises:
        InputError: there is none; the nearest known name is offered.
    """
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    return STUDIES[name]
