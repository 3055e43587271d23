"""What every registered component must keep, as checks that need no test framework.

In a test of your own package::

    from preceptor.conformance import check_component
    check_component("loss", "my_match")

or one test case a check, over every component that is installed::

    @pytest.mark.parametrize(("info", "check"), conformance_cases(), ids=str)
    def test_stage_conforms(info, check):
        check(info)
"""

from preceptor.conformance.check import Check, ConformanceError, Subject
from preceptor.conformance.suite import check_component, checks_for, conformance_cases

__all__ = ["Check", "ConformanceError", "Subject", "check_component", "checks_for", "conformance_cases"]
