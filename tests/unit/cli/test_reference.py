"""docs/cli.md says what the commands are."""

from spotbatch.cli.reference import reference
from tests.root import ROOT

PAGE = ROOT / "docs" / "cli.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "make it again: python -m spotbatch.cli.reference > docs/cli.md"
    )
