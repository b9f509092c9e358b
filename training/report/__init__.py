"""The report of a model: collected once into ``ReportData``, rendered as JSON, Markdown and one HTML page."""
