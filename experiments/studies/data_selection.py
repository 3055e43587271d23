"""Data Selection against random selection of the same size, in both directions of the score."""

from experiments.studies.engine import Arm, Study, arms_of
from experiments.studies.fashion import COMMON, LIMITS, faulty, setting

TRAINING_IMAGES = 4000

KEEP = (50, 70, 90)


def _arms_at(keep: int) -> tuple[Arm, ...]:
    share = keep / 100
    control = f"random-{keep}"
    return (
        Arm(
            name=control,
            recipe="lr-ds",
            overrides={"selection": {"name": "random", "keep": share}},
            about=f"label revision, the teacher teaches {keep} % of the training images, drawn at random",
        ),
        Arm(
            name=f"helpful-{keep}",
            recipe="lr-ds",
            overrides={"selection.keep": share},
            about=f"the teacher teaches the {keep} % that reduce its held-out loss most",
            baseline=control,
        ),
        Arm(
            name=f"harmful-{keep}",
            recipe="lr-ds",
            overrides={"selection.keep": share, "selection.ascending": True},
            about=f"the teacher teaches the {keep} % that reduce it least: the same score reversed",
            baseline=control,
        ),
    )


DATA_SELECTION = Study(
    name="data-selection",
    title="Data Selection against random selection of the same size, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "40 % of the teacher's labels were taken for those of the class that looks most like theirs. It "
        "teaches a part of the training images, chosen by influence on its held-out loss; labels alone teach the rest."
    ),
    shows=(
        "Whether it matters which samples the teacher teaches, or only how many: each selection is compared with a "
        "random one of the same size, and the score is used in both directions."
    ),
    does_not_show=LIMITS,
    teachers=(faulty(40),),
    arms=(*arms_of("none", "kd", "lr"), *(arm for keep in KEEP for arm in _arms_at(keep))),
    baseline="lr",
    noun="selection",
    columns=("accuracy", "difference", "taught"),
    training_images=TRAINING_IMAGES,
    **COMMON,
)
