"""How Sphinx builds the documentation: ``make docs``."""

import shutil
from importlib.metadata import version as installed

project = "Concertino"
author = "The Concertino developers"
copyright = author
release = version = installed("concertino")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.graphviz",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]

exclude_patterns = ["_build", "changelog.d", "explanations/decisions/template.md"]

# Pages with code cells run, each from an empty directory, and an error in one fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# What needs more than a package of Python is run where that is.
if shutil.which("arv-fake-gv-camera-0.8") is None:
    nb_execution_excludepatterns = ["how-to/use-a-genicam-camera.md"]
nb_merge_streams = True
nb_execution_show_tb = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": True}
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

# Debian's graphviz draws them, as the documentation is built.
graphviz_output_format = "svg"

html_theme = "pydata_sphinx_theme"
html_title = "Concertino"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
