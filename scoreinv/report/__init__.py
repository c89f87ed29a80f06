"""What people look at: pictures, tables, and a page of a run or of a batch."""

from scoreinv.report.calibration import coverage_curves
from scoreinv.report.coverage import curves
from scoreinv.report.figure import figure, table
from scoreinv.report.maps import Panel, maps
from scoreinv.report.page import report
from scoreinv.report.roc import roc_curves

__all__ = ["Panel", "coverage_curves", "curves", "figure", "maps", "report", "roc_curves", "table"]
