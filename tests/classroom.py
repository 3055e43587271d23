"""Old names of ``tests.training_helpers``."""

from tests.training_helpers import *  # noqa: F403
from tests.training_helpers import make_student as pupil  # noqa: F401
from tests.training_helpers import train as taught  # noqa: F401
