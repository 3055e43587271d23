"""The optional packages that pages need."""

from importlib import import_module

from preceptor.errors import MachineError

PACKAGES = ("jinja2", "matplotlib")


def require_report_extra() -> None:
    """Make sure that a page can be made; worth asking before a long study, not after it.

    Raises:
        MachineError: jinja2 or matplotlib is not installed, or cannot be imported.
    """
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise MachineError(
                f"a page needs {package}, which cannot be imported ({error}): pip install 'preceptor[report]'"
            ) from error
