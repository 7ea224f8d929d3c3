"""The library that is kept in our tree is its authors' file, unchanged, with its licence beside it."""

import hashlib

from spotbatch.web.render import ROOT
from tests.root import ROOT as PROJECT

# npm: idiomorph 0.8.0, package/dist/idiomorph.min.js
IDIOMORPH_SHA256 = "4cbd535caf7663a51eda9bce6595371c384fc430d54b8d414e29a61167f19f96"


def test_the_library_for_live_updates_is_the_release_that_the_docs_name() -> None:
    kept = (ROOT / "static" / "idiomorph.min.js").read_bytes()
    assert hashlib.sha256(kept).hexdigest() == IDIOMORPH_SHA256
    assert "Zero-Clause BSD" in (ROOT / "static" / "idiomorph.LICENSE.txt").read_text(encoding="utf-8")
    assert "idiomorph 0.8.0" in (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
