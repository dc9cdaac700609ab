"""What the pages name exists: modules, files and settings; the code of methods/own.md is the example's."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from lmd import methods
from lmd.fields import setting_names
from tests.test_words import PAGES, ROOT, name_of

EXAMPLE = ROOT / "examples" / "my_method.py"
SETTINGS = {
    name
    for method in [*methods.names(), str(EXAMPLE)]
    for name in setting_names(methods.load(method, allow_code=True).Settings)
}
# Files of other repositories.
FOREIGN = {"data/transforms.py"}


def code_of(text: str) -> str:
    """What stands in backticks, and the code blocks."""
    return "\n".join([*re.findall(r"`([^`\n]+)`", text), *re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)])


def absent_modules(text: str) -> list[str]:
    """The names below `lmd` that cannot be imported."""

    def is_there(name: str) -> bool:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            return False
        return True

    return [name for name in re.findall(r"(?<![\w/-])lmd(?:\.\w+)+", code_of(text)) if not is_there(name)]


def absent_files(text: str) -> list[str]:
    """The paths into a folder of this repository, or of the package, that lead to no file."""
    roots = (ROOT, ROOT / "src" / "lmd")
    paths = set(re.findall(r"(?<![\w./-])\w[\w-]*/[\w./-]*\.(?:py|md|yaml)\b", code_of(text))) - FOREIGN
    ours = {path for path in paths if any((root / path.partition("/")[0]).is_dir() for root in roots)}
    return sorted(path for path in ours if not any((root / path).is_file() for root in roots))


def absent_settings(text: str) -> list[str]:
    """The settings in groups that no method has."""
    named = re.findall(r"(?<![\w./])((?:stage1|stage2|statistics|m_step|e_step)\.[a-z]\w*(?:\.\w+)*)", text)
    files = (".py", ".safetensors", ".md")
    return [name for name in named if name not in SETTINGS and not name.endswith(files)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    assert absent_modules(text) == []
    assert absent_files(text) == []
    assert absent_settings(text) == []


def test_what_does_not_exist_is_found() -> None:
    text = (
        "`lmd.stages.base.Supervised` `lmd.methods._heads` `stages/base.py` `methods/base.py` `FILE.py` `./mine.py` "
        "`tests/test_pages.py::a` `tests/test_none.py` `stage1.epochs=3` and stage2.fdc_sign, see m_step.py."
    )
    assert absent_modules(text) == ["lmd.methods._heads"]
    assert absent_files(text) == ["methods/base.py", "tests/test_none.py"]
    assert absent_settings(text) == ["stage2.fdc_sign"]


def test_the_code_on_the_page_about_own_methods_is_the_example_s() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods" / "own.md").read_text(), re.DOTALL)
    assert blocks
    assert [block for block in blocks if block not in EXAMPLE.read_text()] == []
