"""A report as a page for browsers and as a PDF. Its libraries come with the extra `report` (docs/adr/0021)."""
