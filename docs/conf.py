"""The site of the docs: Sphinx over the Markdown pages, read where they lie in the repository.

`make docs` builds it into site/. The source folder is that of the repository, so that a link means the same
on the site as in the file. Nothing on the site is loaded from elsewhere (tests/pages/test_site.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lmd.version import __version__

project = "lmd"
author = "The lmd authors"
project_copyright = "the lmd authors, Apache-2.0"
version = release = __version__

# Which pages.
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/**", "examples/README.md", "benchmarks/results/**README.md"]
exclude_patterns = [
    ".*",
    "site",
    "src",
    "tests",
    "work",
    "runs",
    "dist",
    "recipes",
    "shared",
    "lmd-demo",
    "fuzz-found",
]

# Markdown as the repository has it.
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "site_links",
    "site_access",
]
myst_heading_anchors = 4
highlight_language = "none"
default_role = "literal"

# From docstrings.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_use_rtype = False
# Every link that a page has must lead somewhere. Types in signatures may have no description here.
nitpicky = True
nitpick_ignore_regex = [("py:(class|exc|obj|data)", ".*")]

# The pages: nothing from elsewhere, no server.
html_theme = "furo"
html_title = f"lmd {release}"
html_show_sourcelink = False
html_copy_source = False
html_additional_pages = {"index": "to_begin.html"}
templates_path = ["_templates"]
html_show_search_summary = False  # It would read other pages, which a browser refuses without a server.
