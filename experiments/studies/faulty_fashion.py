"""A faulty ResNet on Fashion-MNIST: the corrections on photographs and with common networks."""

from experiments.studies.engine import Study, arms_of
from experiments.studies.fashion import faulty
from preceptor.training import TrainingConfig

FAULTY_FASHION = Study(
    name="faulty-teacher-fashion-mnist",
    title="A student of a faulty teacher, on Fashion-MNIST",
    setting=(
        "A ResNet-14 learned from 30,000 images of Fashion-MNIST of which 40 % carry a wrong label: each class was "
        "paired with the one it looks most like, and 40 % of its labels were taken for the partner's. ResNet-8 "
        "students are given 4,000 of the same images, with the right labels, for 10 epochs."
    ),
    shows=(
        "Whether correcting a teacher that learned from wrong labels gives a better student than plain "
        "distillation, with everything else equal: the same initial weights, batches and teacher under each seed."
    ),
    does_not_show=(
        "Anything about the full data set or a published schedule: the runs are short, the label noise is made, and "
        "recipes run with their published settings, tuned for nothing here."
    ),
    data="fashion-mnist",
    teachers=(faulty(40),),
    held_out=0.5,
    training_images=4000,
    teacher="resnet14",
    student="resnet8",
    teacher_training=TrainingConfig(epochs=4),
    student_training=TrainingConfig(epochs=10),
    arms=arms_of("none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong"),
    seeds=(0, 1, 2),
)
