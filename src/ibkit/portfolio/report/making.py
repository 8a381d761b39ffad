"""What a report of a portfolio says, out of its figures, its books and, where one is kept, its ledgers."""

from __future__ import annotations

from ibkit.portfolio.report.figures import allocation_of, concentration_of, options_of, plots_of, summary_of
from ibkit.portfolio.report.holdings import holdings_of
from ibkit.portfolio.report.ledgers import income_of, realised_of
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Report, Section
from ibkit.portfolio.report.quality import quality_of

__all__ = ["report_of"]


def report_of(material: Material) -> Report:
    figures = material.figures
    sections = (
        Section(title="Summary", blocks=(*summary_of(figures), *plots_of(material))),
        Section(title="Allocation", blocks=allocation_of(figures)),
        Section(title="Holdings", blocks=holdings_of(material)),
        Section(title="Concentration", blocks=concentration_of(figures)),
        Section(title="Income", blocks=income_of(material)),
        Section(title="Realised results", blocks=realised_of(material)),
        Section(title="Options by expiry", blocks=options_of(figures)),
        Section(title="Data quality", blocks=quality_of(material)),
    )
    made = f"As of {figures.as_of}, in {figures.currency}. Made {material.made_at:%Y-%m-%d %H:%M} UTC."
    return Report(title=material.portfolio.name, made=made, sections=sections)
