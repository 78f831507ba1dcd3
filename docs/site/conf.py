"""Sphinx's settings; `make docs` copies this beside the pages that it makes."""

import re

import zoo

project = "flax-zoo"
release = version = zoo.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "pydata_sphinx_theme"
html_title = "flax-zoo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "models/index": []},
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "models/index": [], "quickstart": [], "changelog": [], "contributing": []}
copyright = "the authors of flax-zoo; Apache-2.0"
myst_heading_anchors = 3
copybutton_prompt_text = "$ "

nitpicky = True
# Types of other libraries: their sites are not asked at build time.
nitpick_ignore_regex = [(r"py:.*", r"(?!(?:zoo|converters)\.[A-Za-z]\w*$).*")]
default_role = "code"  # docstrings have names between single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Code with the letter after it, an example's line, a name that ends in an underscore, other marks.
MARKS = re.compile(
    r"(?<!`)(`[^`]+`)(?!`)(\w?)|(^ *(?:>>>|\.\.\.).*$)|(\w)_(?!\w)|(?<!\\)([*|])", re.MULTILINE
)


def _escaped(found):
    code, letter, example, end, mark = found.groups()
    if code:
        return rf"{code}\ {letter}" if letter else code
    return example or (rf"{end}\_" if end else rf"\{mark}")


def escape(app, what, name, value, options, lines):
    """Keeps words of docstrings from being read as marks; they have code between backticks alone."""
    lines[:] = MARKS.sub(_escaped, "\n".join(lines)).split("\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape, priority=600)  # after napoleon, which escapes arguments
