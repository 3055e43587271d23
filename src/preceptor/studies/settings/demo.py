"""The demo: a faulty teacher on handwritten digits, in a minute or two."""

from preceptor.studies.study import Study, TeacherKind, arms_of
from preceptor.training import TrainingConfig

DEMO = Study(
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
    teachers=(TeacherKind(name="faulty", about="40 % of the labels of look-alike digits swapped", rate=0.4),),
    training_images=600,
    teacher="convnet32",
    student="convnet8",
    teacher_protocol=TrainingConfig(epochs=80),
    student_protocol=TrainingConfig(epochs=40),
    arms=arms_of("none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong"),
    seeds=(0, 1, 2),
)
