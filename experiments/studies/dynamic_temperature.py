"""Dynamic temperatures against the fixed temperature they average to."""

from experiments.studies.engine import Arm, Study, arms_of
from experiments.studies.fashion import COMMON, LIMITS, faulty, setting

TRAINING_IMAGES = 2000

BATCH = 64
"""With weights that sum to 1 over a batch, a beta of the batch size equals a beta of 1 with weights of mean 1."""

DYNAMIC_TEMPERATURE = Study(
    name="dynamic-temperature",
    title="Dynamic temperatures against a fixed one, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "40 % of the teacher's labels were taken for those of the class that looks most like theirs. "
        "Students learn from the teacher's soft targets alone, at temperature 4 or at one that is set for each sample "
        "and averages to 4 over a batch before the clamp."
    ),
    shows=(
        "Whether giving each sample its own temperature teaches better than one temperature for all, with everything "
        "else equal. Mean temperature and clamp rate are what they were in training."
    ),
    does_not_show=f"{LIMITS} No temperature was searched for.",
    teachers=(faulty(40),),
    arms=(
        *arms_of("none"),
        Arm(
            name="fixed",
            recipe="dtd-flsw",
            overrides={"temperature": {"name": "fixed", "temperature": 4.0}},
            about="temperature 4 for every sample; no correction, no label term",
        ),
        *arms_of("dtd-flsw", "dtd-cwsm"),
        Arm(
            name="fixed-4.45",
            recipe="dtd-flsw",
            overrides={"temperature": {"name": "fixed", "temperature": 4.45}},
            about="temperature 4.45 for every sample: the mean that dtd-flsw-sum came to after its clamp",
        ),
        Arm(
            name="dtd-flsw-sum",
            recipe="dtd-flsw",
            overrides={"temperature.normalize": "sum", "temperature.beta": BATCH},
            about="dtd-flsw with weights divided by their sum over the batch, beta 64",
            baseline="fixed-4.45",
        ),
        Arm(
            name="dtd-cwsm-sum",
            recipe="dtd-cwsm",
            overrides={"temperature.normalize": "sum", "temperature.beta": BATCH},
            about="dtd-cwsm with weights divided by their sum over the batch, beta 64",
        ),
    ),
    baseline="fixed",
    noun="dynamic temperature",
    columns=("accuracy", "difference", "temperature", "clamped"),
    training_images=TRAINING_IMAGES,
    **COMMON,
)
