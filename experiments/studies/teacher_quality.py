"""Corrections against the quality of the teacher."""

from experiments.studies.engine import Study, TeacherKind, arms_of
from experiments.studies.fashion import CLEAN, COMMON, LIMITS, faulty, setting

TRAINING_IMAGES = 4000

TEACHER_QUALITY = Study(
    name="teacher-quality",
    title="Corrections under teachers from good to bad, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "Of the teachers' labels 0, 20, 40 or 60 % were taken for those of the class that looks most like "
        "theirs; a fifth teacher had right labels and was stopped after one epoch."
    ),
    shows=(
        "From which quality of the teacher on correcting it pays, and how much of what a bad teacher costs plain "
        "distillation a correction wins back (the recovery ratio), with everything else equal: the same "
        "initial weights, batches and teacher under each seed."
    ),
    does_not_show=f"{LIMITS} The label noise is made.",
    teachers=(
        CLEAN,
        faulty(20),
        faulty(40),
        faulty(60),
        TeacherKind(name="early-stopped", about="every label right, trained for 1 epoch", epochs=1),
    ),
    arms=arms_of("none", "kd", "lr", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong"),
    recovery="clean",
    columns=("accuracy", "difference", "recovery", "affected"),
    training_images=TRAINING_IMAGES,
    **COMMON,
)
