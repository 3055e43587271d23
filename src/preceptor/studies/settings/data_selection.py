"""Data Selection against random selection of the same size, in both directions of the score."""

from preceptor.studies.settings.fashion import COMMON, LIMITS, faulty, setting
from preceptor.studies.study import Arm, Study, arms_of

LESSONS = 4000

KEEP = (50, 70, 90)


def _arms_at(keep: int) -> tuple[Arm, ...]:
    share = keep / 100
    control = f"random-{keep}"
    return (
        Arm(
            name=control,
            recipe="lr-ds",
            overrides={"selection": {"name": "random", "keep": share}},
            about=f"label revision, taught by the teacher on {keep} % of the training_images, drawn at random",
        ),
        Arm(
            name=f"helpful-{keep}",
            recipe="lr-ds",
            overrides={"selection.keep": share},
            about=f"taught on the {keep} % that help the teacher's held-out loss most",
            against=control,
        ),
        Arm(
            name=f"harmful-{keep}",
            recipe="lr-ds",
            overrides={"selection.keep": share, "selection.ascending": True},
            about=f"taught on the {keep} % that help it least: the score the other way round",
            against=control,
        ),
    )


DATA_SELECTION = Study(
    name="data-selection",
    title="Data Selection against random selection of the same size, on Fashion-MNIST",
    setting=(
        f"{setting(LESSONS)} "
        "40 % of the teacher's labels were taken for those of the class that looks most like theirs. It "
        "teaches a part of the training_images, chosen by influence on its held-out loss; labels alone teach the rest."
    ),
    shows=(
        "Whether it matters which samples the teacher teaches, or only how many: each selection is held against a "
        "random one of the same size, and the score is tried in both directions."
    ),
    does_not_show=LIMITS,
    teachers=(faulty(40),),
    arms=(*arms_of("none", "kd", "lr"), *(arm for keep in KEEP for arm in _arms_at(keep))),
    baseline="lr",
    noun="selection",
    columns=("accuracy", "difference", "taught"),
    training_images=LESSONS,
    **COMMON,
)
