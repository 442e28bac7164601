"""The page that every report is: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ipa_seldon.reports.charts import Chart

SHARED, OWN = ("page.html.j2", "chart.html.j2"), "report.html.j2"


def render_page(package: str, title: str, lead: str, footer: Mapping[str, str], **content: Any) -> str:
    """The report of ``package``, whose template fills the page with ``content``; ``footer`` says where the figures come
    from.
    """
    sources = {name: files("ipa_seldon.reports").joinpath(name).read_text("utf-8") for name in SHARED}
    sources[OWN] = files(package).joinpath(OWN).read_text("utf-8")
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    plotly = Markup(get_plotlyjs())  # noqa: S704 - the library's own source, not text of a run
    return environment.get_template(OWN).render(title=title, lead=lead, footer=footer, plotly=plotly, **content)


def embedded(chart: Chart) -> dict[str, Any]:
    """The fields of a chart for the template."""
    # plotly writes "<" as an escape, so that its JSON cannot end the script element that holds it.
    return {**vars(chart), "spec": Markup(chart.spec)}  # noqa: S704 - see above
