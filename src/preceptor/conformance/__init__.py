"""Properties that every registered component must have, as checks that need no test framework.

In a test of your own package::

    from preceptor.conformance import check_component
    check_component("loss", "my_loss")

or one test case per check, over every component that is installed::

    @pytest.mark.parametrize(("info", "check"), conformance_cases(), ids=str)
    def test_component_conforms(info, check):
        check(info)
"""

from preceptor.conformance.check import Check, ComponentCase, ConformanceError
from preceptor.conformance.suite import check_component, checks_for, conformance_cases

__all__ = ["Check", "ComponentCase", "ConformanceError", "check_component", "checks_for", "conformance_cases"]
