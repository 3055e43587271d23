"""Pages to look at: one self-contained HTML file each. They need the extra ``report``."""

from preceptor.reports.audit_page import audit_page, write_audit_page
from preceptor.reports.comparison_page import comparison_page, write_comparison_page
from preceptor.reports.evaluation_page import evaluation_page, write_evaluation_page
from preceptor.reports.page import check_page_path, require_report_extra
from preceptor.reports.prediction_table import check_table_path, write_prediction_table

__all__ = [
    "audit_page",
    "check_page_path",
    "check_table_path",
    "comparison_page",
    "evaluation_page",
    "require_report_extra",
    "write_audit_page",
    "write_comparison_page",
    "write_evaluation_page",
    "write_prediction_table",
]
