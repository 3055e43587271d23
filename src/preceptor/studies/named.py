"""The studies that come with the package, each one command."""

from preceptor.errors import unknown_name
from preceptor.studies.settings.abstention import ABSTENTION
from preceptor.studies.settings.correlation import CORRELATION
from preceptor.studies.settings.data_selection import DATA_SELECTION
from preceptor.studies.settings.demo import DEMO
from preceptor.studies.settings.dynamic_temperature import DYNAMIC_TEMPERATURE
from preceptor.studies.settings.faulty_fashion import FAULTY_FASHION
from preceptor.studies.settings.knowing_when_wrong import KNOWING_WHEN_WRONG
from preceptor.studies.settings.teacher_quality import TEACHER_QUALITY
from preceptor.studies.study import Study

_ALL = (
    DEMO,
    FAULTY_FASHION,
    TEACHER_QUALITY,
    DATA_SELECTION,
    DYNAMIC_TEMPERATURE,
    CORRELATION,
    ABSTENTION,
    KNOWING_WHEN_WRONG,
)

STUDIES = {study.name: study for study in _ALL}
"""Studies by name."""


def find_study(name: str) -> Study:
    """The study of this name.

    Raises:
        InputError: there is none; the nearest known name is offered.
    """
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    return STUDIES[name]
