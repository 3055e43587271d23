"""What every page needs."""

import sys

import pytest

from preceptor.errors import MachineError
from preceptor.reports.page import require_report_extra


@pytest.mark.parametrize("package", ["jinja2", "vl_convert"])
def test_without_a_package_it_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MachineError, match=rf"a page needs {package}, which is not installed: .*preceptor\[report\]"):
        require_report_extra()
