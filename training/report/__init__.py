"""Collect the report of a model into ``ReportData`` and render it as JSON, Markdown and one HTML page."""
