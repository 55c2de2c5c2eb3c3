"""Fills the templates of the HTML pages; text is escaped, and a name that is missing is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tinyml.report.svg import FIGURE_STYLE


def render_html(template: str, **values: object) -> str:
    """Return the page of a template in report/templates, with the style of the figures at hand in it."""
    environment = Environment(
        loader=PackageLoader("tinyml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(figure_style=Markup(FIGURE_STYLE), **values)
