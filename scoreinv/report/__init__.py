"""What people look at: pictures, tables, and a page of a run or of a batch."""

from scoreinv.report.figure import figure, table
from scoreinv.report.page import report

__all__ = ["figure", "report", "table"]
