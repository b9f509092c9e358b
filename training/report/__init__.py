"""The report of a model: collected once into ``ReportData``, rendered as JSON, Markdown and one HTML page."""

from training.report.collect import ReportOptions, collect
from training.report.data import ReportData
from training.report.render import write

__all__ = ["ReportData", "ReportOptions", "collect", "write"]
