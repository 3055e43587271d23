"""Studies of faulty teachers, one file each, and the engine that runs them: ``python -m experiments.studies``."""

from experiments.studies.abstention import ABSTENTION
from experiments.studies.correlation import CORRELATION
from experiments.studies.data_selection import DATA_SELECTION
from experiments.studies.dynamic_temperature import DYNAMIC_TEMPERATURE
from experiments.studies.faulty_fashion import FAULTY_FASHION
from experiments.studies.knowing_when_wrong import KNOWING_WHEN_WRONG
from experiments.studies.teacher_quality import TEACHER_QUALITY

STUDIES = {
    study.name: study
    for study in (
        FAULTY_FASHION,
        TEACHER_QUALITY,
        DATA_SELECTION,
        DYNAMIC_TEMPERATURE,
        CORRELATION,
        ABSTENTION,
        KNOWING_WHEN_WRONG,
    )
}
"""Studies by name."""
