"""CMKD and its parts, under a strong teacher."""

from experiments.studies.engine import Arm, Study, TeacherKind, arms_of
from experiments.studies.fashion import COMMON, LIMITS, setting

TRAINING_IMAGES = 2000

STRONG = TeacherKind(name="strong", about="every label right, trained for 8 epochs", epochs=8)


def _alone(name: str, match: dict[str, str], about: str) -> Arm:
    overrides = {"terms.cmkd": {"loss": match, "weight": 2.0}}
    return Arm(name=name, recipe="cmkd-static", overrides=overrides, about=f"{about}, weight 2")


CORRELATION = Study(
    name="correlation",
    title="Correlation of values and of ranks, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "This teacher had right labels and 8 epochs. Students learn from labels and from one way to "
        "compare their outputs with the teacher's. DIST is run with the weights of its code, 32 and 32, and with "
        "CMKD's, 2 and 2, which leave out the square of its temperature."
    ),
    shows=(
        "Whether weighing values against ranks by the difficulty of a sample, in either direction, beats half and "
        "half; whether either beats values or ranks alone, DIST and plain distillation; and which soft rank trains "
        "better."
    ),
    does_not_show=LIMITS,
    teachers=(STRONG,),
    arms=(
        *arms_of("none", "kd", "dist"),
        Arm(
            name="dist-2",
            recipe="dist",
            overrides={"terms.inter.weight": 2.0, "terms.intra.weight": 2.0},
            about="DIST with the weights of cmkd, 2 and 2",
        ),
        _alone("pearson", {"name": "pearson"}, "values alone, Pearson on probabilities"),
        _alone("spearman", {"name": "spearman"}, "ranks alone, soft rank by window"),
        _alone(
            "spearman-permutahedron",
            {"name": "spearman", "rank": "permutahedron"},
            "ranks alone, soft rank by projection onto the permutahedron",
        ),
        *arms_of("cmkd-static"),
        Arm(name="cmkd", recipe="cmkd", baseline="cmkd-static"),
        Arm(
            name="cmkd-reversed",
            recipe="cmkd",
            overrides={"terms.cmkd.loss": {"name": "cmkd", "weighting": "values_when_hard"}},
            about="values and ranks of the classes, values where the teacher is unsure",
            baseline="cmkd-static",
        ),
    ),
    noun="correlation",
    columns=("accuracy", "difference"),
    training_images=TRAINING_IMAGES,
    **COMMON,
)
