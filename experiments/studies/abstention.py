"""Students that may abstain: plain and abstaining heads, under a teacher as it is and a corrected one."""

from typing import Any

from experiments.studies.engine import Arm, Study
from experiments.studies.engine.columns import COVERAGES
from experiments.studies.fashion import COMMON, LIMITS, faulty, setting

TRAINING_IMAGES = 2000

HALVES: dict[str, Any] = {"terms.ce.weight": 0.5, "terms.kl.weight": 0.5}
"""The weights of precise-abstain-b, so that heads are compared under the same loss."""

ABSTENTION = Study(
    name="abstention",
    title="Students that may abstain, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "20 % of the teacher's labels were taken for those of the class that looks most like theirs. The "
        "teacher is taken as it is (kd) or corrected (ka); the student has a plain head, or one output more, the "
        "gambler's reservation. Each student's images are ranked by its largest class probability and, "
        "where it has one, by its reservation."
    ),
    shows=(
        "Whether correcting the teacher and letting the student abstain add up, in accuracy and in knowing when to "
        "abstain; and whether the reservation knows that better than the same network's class probabilities."
    ),
    does_not_show=f"{LIMITS} Two payoffs, 2.2 and 6.",
    teachers=(faulty(20),),
    arms=(
        Arm(name="kd", recipe="kd", overrides=HALVES, about="plain distillation, plain head; weights half and half"),
        Arm(
            name="ka",
            recipe="kd",
            overrides={**HALVES, "correction": "probability_shift"},
            about="corrected teacher (probability shift), plain head; weights half and half",
        ),
        Arm(
            name="kd-gambler",
            recipe="precise-abstain-b",
            overrides={"correction": None},
            about="plain distillation, abstaining head",
            baseline="kd",
        ),
        Arm(name="precise-abstain-b", recipe="precise-abstain-b", baseline="ka"),
        Arm(name="precise-abstain-a", recipe="precise-abstain-a", baseline="ka"),
        Arm(
            name="precise-abstain-b-6",
            recipe="precise-abstain-b",
            overrides={"terms.gamble.label_loss.payoff": 6.0},
            about="precise-abstain-b with payoff 6 in place of 2.2, which reserves less",
            baseline="ka",
        ),
        Arm(
            name="precise-abstain-a-6",
            recipe="precise-abstain-a",
            overrides={"terms.gamble.loss.payoff": 6.0},
            about="precise-abstain-a with payoff 6",
            baseline="ka",
        ),
    ),
    columns=(
        "accuracy",
        "difference",
        *(f"error_at_{coverage}" for coverage in COVERAGES),
        "aurc",
        *(f"error_at_{coverage}_reservation" for coverage in COVERAGES),
        "aurc_reservation",
        "aurc_reservation_difference",
        "reservation",
    ),
    noun="recipe",
    training_images=TRAINING_IMAGES,
    **COMMON,
)
