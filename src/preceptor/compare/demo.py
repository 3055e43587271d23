"""The demo's study: a teacher with two classes exchanged, on handwritten digits, in a minute or two."""

from preceptor.compare.study import Study, TeacherKind, arms_of
from preceptor.training import TrainingConfig

DEMO = Study(
    name="demo",
    title="Students of a faulty teacher, on handwritten digits",
    setting=(
        "A teacher learned handwritten digits from labels in which 4 and 9 were exchanged, so it is right on all other "
        "digits and wrong on nearly all of these. Each student has 100 other images, which the teacher never saw, with "
        "the right labels. The teacher learned from ten times as many images, so distilling can pay; labels alone "
        "(recipe none) stays in the table to show whether it does."
    ),
    shows=(
        "What a systematic fault of the teacher does to plain distillation, and whether a recipe that corrects it "
        "gives better students than labels alone and than dropping the wrong samples, with everything else equal: the "
        "same initial weights, batches and teacher under each seed."
    ),
    does_not_show=(
        "How large the gain is for your data and your teacher. The digits are tiny, the fault was made on purpose and "
        "is the same everywhere, the labels of the students' images are right, and the setting was picked, among seven "
        "that were tried, because checking the teacher pays in it. Correcting can harm when labels are wrong, and does "
        "nothing when the teacher is nearly always right. Few seeds make wide intervals."
    ),
    data="digits",
    pairs=((4, 9),),
    teachers=(TeacherKind(name="faulty", about="the labels 4 and 9 exchanged", rate=1.0),),
    held_out=0.25,
    unseen=True,
    training_images=100,
    teacher="convnet32",
    student="convnet8",
    teacher_training=TrainingConfig(epochs=40),
    student_training=TrainingConfig(epochs=60),
    arms=arms_of(
        "none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "cmkd", "corrected-cmkd", "drop-wrong"
    ),
    noun="recipe",
    seeds=(0, 1, 2),
)
