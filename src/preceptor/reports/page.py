"""Fills a template: one HTML file that asks for nothing from elsewhere, no script, no font, no image."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.files import write_whole

if TYPE_CHECKING:
    from markupsafe import Markup


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page as HTML; everything in ``content`` is escaped. It needs the extra ``report``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preceptor.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(content)


def write_page(page: str, path: Path) -> None:
    """Write a page beside its place and rename it, so that no half page is ever there.

    Raises:
        MachineError: it cannot be written.
    """
    write_whole({path: page.encode("utf-8", errors="replace")})  # a folder's name may hold letters UTF-8 lacks


def _breakable(name: str) -> "Markup":
    """A name, escaped, that may go on to the next line after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
