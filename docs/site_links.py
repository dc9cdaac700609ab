"""What the pages and docstrings mean on the site, where that is not what Sphinx would make of them.

- A link to a module of the package leads to its page among the sources.
- A link to a folder, or to a Markdown file that is no page of the site, becomes plain text.
- A name such as `lmd.train` in backticks leads to its description, where the site has one.
- Docstrings are plain text: what is indented below a blank line is a formula or code, and nothing but
  backticks and sections is markup.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"lmd(\.\w+)+(\(\))?")
SECTION = re.compile(r"(Args|Raises|Returns|Yields|Attributes|Example|Examples):")


def without_page(app: Sphinx, doctree: nodes.document) -> None:
    """Makes plain text of links to what is in the repository and on no page of the site."""
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link.get("reftarget", "")
        if link.get("reftype") == "myst" and "://" not in target and _is_bare(app, link, target):
            link.replace_self(link.children)


def _is_bare(app: Sphinx, link: addnodes.pending_xref, target: str) -> bool:
    """Whether the target is a folder, or a Markdown file that the site leaves out."""
    if link.get("refdomain") == "doc":
        return target not in app.env.found_docs and (Path(app.srcdir) / f"{target}.md").is_file()
    return ((Path(app.srcdir) / link["refdoc"]).parent / target).is_dir()


def lead_to_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Has names in backticks, and links to modules, lead to where the site shows them."""
    for literal in list(doctree.findall(nodes.literal)):
        if NAME.fullmatch(literal.astext()) and not isinstance(literal.parent, nodes.reference | nodes.title):
            _lead_to_name(app, docname, literal)
    for link in list(doctree.findall(addnodes.download_reference)):
        _lead_to_module(app, docname, link)


def _lead_to_name(app: Sphinx, docname: str, literal: nodes.literal) -> None:
    known: dict[str, Any] = app.env.get_domain("py").objects  # type: ignore[attr-defined]
    found = known.get(literal.astext().removesuffix("()"))
    if found is not None:
        literal.replace_self(
            make_refnode(app.builder, docname, found.docname, found.node_id, literal.deepcopy())
        )


def _lead_to_module(app: Sphinx, docname: str, link: addnodes.download_reference) -> None:
    place = re.search(r"src/(lmd/.*)\.py$", link["reftarget"])
    shown = getattr(app.env, "_viewcode_modules", {})  # Modules of which the site shows something.
    if place and shown.get(place[1].replace("/", ".")):
        page = app.builder.get_relative_uri(docname, f"_modules/{place[1]}")
        link.replace_self(nodes.reference("", "", *link.children, refuri=page, internal=True))


def as_plain_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Marks what is indented as literal, and takes all other marks for what they are."""
    found: list[str] = []
    inside = before = ""  # The kind of block that a line belongs to, and the last line that is not blank.
    for line in lines:
        if not line.startswith(" "):
            inside = "example" if line.startswith(">>>") else inside if inside == "example" and line else ""
        elif (
            found
            and not found[-1]
            and not inside
            and not SECTION.fullmatch(before)
            and not _in_section(found)
        ):
            inside = "literal"
            found += ["::", ""]
        found.append(line if inside else _escaped(line))
        before = line or before
    lines[:] = found


def _in_section(lines: list[str]) -> bool:
    """Whether the last line at the margin is the head of a section, such as Args."""
    return bool(SECTION.fullmatch(next((line for line in reversed(lines) if line and line[0] != " "), "")))


def _escaped(line: str) -> str:
    """A line whose stars, bars and closing underscores are no markup; code in backticks is left alone."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if n % 2 else re.sub(r"([*|]|\b\w*_(?=\W|$))", _escape, part) for n, part in enumerate(parts)
    )


def _escape(match: re.Match[str]) -> str:
    return match[1][:-1] + "\\" + match[1][-1]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers all of it with Sphinx."""
    app.connect("doctree-read", without_page)
    app.connect("doctree-resolved", lead_to_code)
    app.connect("autodoc-process-docstring", as_plain_text, priority=100)  # Before sections are read.
    return {"parallel_read_safe": True, "parallel_write_safe": True}
