"""Pages to look at: one self-contained HTML file each. They need the extra ``report``."""

from preceptor.reports.extra import require_report_extra
from preceptor.reports.study_page import study_page, write_study_page

__all__ = ["require_report_extra", "study_page", "write_study_page"]
