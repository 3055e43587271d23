"""One HTML file from a template, which loads nothing from elsewhere: what it needs is in it."""

import os
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.errors import InputError
from preceptor.extras import import_extra
from preceptor.files import check_writable, write_whole

if TYPE_CHECKING:
    from markupsafe import Markup


def require_report_extra() -> None:
    """Make sure that a page can be made; worth asking before a long study, not after it.

    Raises:
        MachineError: jinja2 or vl-convert-python is not installed, or cannot be imported.
    """
    for package in ("jinja2", "vl_convert"):
        import_extra(package, "report", "a page")


def render(template: str, content: Callable[[], Mapping[str, Any]]) -> str:
    """The page as HTML; everything in its content is escaped.

    Raises:
        MachineError: the extra ``report`` is not installed.
    """
    require_report_extra()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preceptor.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(content())


MARK = '<meta name="generator" content="preceptor evaluation">'
"""Stands in every evaluation page, so that a later one may take its place."""


def check_page_path(path: Path) -> None:
    """Refuse a path that holds anything but an earlier evaluation page, before hours of work.

    Raises:
        InputError: a folder or another file is there.
        MachineError: its folder cannot be written to.
    """
    check_replaceable(path, MARK, "evaluation page")


def check_replaceable(path: Path, mark: str, kind: str) -> None:
    """Refuse a path that holds anything but an earlier file of a kind, known by a mark near its beginning."""
    try:
        with path.open("rb") if path.is_file() else BytesIO() as file:
            ours = mark.encode() in file.read(4096)
    except OSError:
        ours = False
    if os.path.lexists(path) and not ours:
        raise InputError(f"{path}: exists and is no {kind}; name another with --page, or remove it")
    check_writable(path.parent)


def write_page(page: str, path: Path) -> None:
    """Write a page beside its place and rename it, so that there is never half a page.

    Raises:
        MachineError: it cannot be written.
    """
    write_whole({path: page.encode("utf-8", errors="replace")})  # a folder's name may hold letters UTF-8 lacks


def _breakable(name: str) -> "Markup":
    """A name, escaped, that may go on to the next line after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
