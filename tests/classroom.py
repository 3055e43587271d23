"""The former names of ``tests.training_helpers``, until every test imports from there."""

from tests.training_helpers import BRIEF as BRIEF
from tests.training_helpers import SMALL_RUN as SMALL_RUN
from tests.training_helpers import digits as digits
from tests.training_helpers import few as few
from tests.training_helpers import make_student as pupil  # noqa: F401
from tests.training_helpers import network as network
from tests.training_helpers import same_bits as same_bits
from tests.training_helpers import train as taught  # noqa: F401
from tests.training_helpers import untrained_teacher as untrained_teacher
from tests.training_helpers import weights as weights
