"""How Sphinx makes the site (`make docs`): Markdown by MyST, the reference of the code by autodoc."""

import inspect
import re
from pathlib import Path

from sphinx.application import Sphinx

from spotbatch import __version__

_DOCS = Path(__file__).resolve().parent
_REPOSITORY = "https://github.com/spotbatch/spotbatch"
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]*)")

project = "spotbatch"
author = "the founders of spotbatch"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"spotbatch {__version__}"
html_copy_source = False
myst_heading_anchors = 4
default_role = "code"  # docstrings write `code` as Markdown does
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
suppress_warnings = ["misc.highlighting_failure"]


def link_outside_to_repository(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make links to files outside `docs/`, which are right in the repository, absolute ones.

    Raises FileNotFoundError where there is no such file; links between documents are left to MyST.
    """
    folder = Path(app.env.doc2path(docname)).parent

    def absolute(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if target.is_relative_to(_DOCS):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{docname}: {link[1]} is not there")
        return f"]({_REPOSITORY}/blob/main/{target.relative_to(_DOCS.parent).as_posix()}"

    source[0] = _OUTSIDE.sub(absolute, source[0])


def show_own_signature(
    app: Sphinx, what: str, name: str, documented: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, str] | None:
    """The signature of a construct's own `__init__`: the CDK's metaclass hides it behind `*args, **kwargs`."""
    if what != "class" or type(documented).__name__ != "JSIIMeta":
        return None
    return str(inspect.signature(documented.__init__)).replace("(self, ", "("), ""  # type: ignore[misc]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", show_own_signature)
    app.connect("source-read", link_outside_to_repository)
