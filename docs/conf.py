"""How Sphinx builds these pages: `make docs`, strictly, and without a word to any other host."""

from pygments.lexers.shell import BashLexer
from sphinx.application import Sphinx

from django_orq import __version__

project = "django_orq"
release = version = __version__
language = "en"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"django_orq {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Lend a lexer to the one language of ours that Pygments has none for."""
    app.add_lexer("cron", BashLexer)
