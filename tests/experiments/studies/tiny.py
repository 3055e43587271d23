"""Studies of two seeds that take a second."""

from experiments.studies.engine import Arm, Study, TeacherKind, arms_of
from preceptor.training import TrainingConfig

RECIPES = ("none", "kd", "ka-ps", "drop-wrong", "label-revision")

TINY = Study(
    name="tiny",
    title="A tiny study",
    setting="Hardly any images.",
    shows="That it runs.",
    does_not_show="Anything else.",
    data="digits",
    pairs=((1, 7), (3, 8)),
    teachers=(TeacherKind(name="faulty", about="40 % wrong", rate=0.4),),
    held_out=0.9,
    training_images=40,
    teacher="convnet8",
    student="convnet4",
    teacher_training=TrainingConfig(epochs=4, batch_size=16),
    student_training=TrainingConfig(epochs=1, batch_size=16),
    arms=arms_of(*RECIPES),
    seeds=(0, 1),
)

SEVERAL = TINY.model_copy(
    update={
        "name": "several",
        "teachers": (
            TeacherKind(name="clean", about="every label right"),
            TeacherKind(name="faulty", about="40 % wrong", rate=0.4),
            TeacherKind(name="stopped", about="trained for 1 epoch", epochs=1),
        ),
        "arms": (
            *arms_of("none", "kd", "ka-ps"),
            Arm(name="ka-ps-1", recipe="ka-ps", overrides={"temperature.temperature": 1.0}, baseline="ka-ps"),
            Arm(name="gambler", recipe="precise-abstain-b", overrides={"correction": None}, about="may abstain"),
        ),
        "recovery": "clean",
        "columns": ("accuracy", "difference", "recovery", "affected"),
    }
)
"""Three kinds of teacher, an arm with a setting changed and a baseline of its own, and one that abstains."""
