"""Make docs/pictures/demo.svg, the README's picture: the real output of a real `make demo`, drawn as a terminal.

.venv/bin/python scripts/terminal_picture.py
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "demo.svg"
COLUMNS = 112
LIMIT_SECONDS = 600
STYLES = {  # what stands out in a terminal; the text itself is the program's
    r"^\$ .*": "bold green",
    r"^\d/6  .*": "bold",
    r"\bSUCCEEDED( in)?\b": "green",
    r"\bRUNNING\b": "cyan",
    r"\bRUNNABLE\b": "yellow",
    r"\d+ interruptions?|\d+ retr(y|ies)": "magenta",
    r"^  saved .*": "bold green",
}


def main() -> None:
    output = ROOT / "cdk.out" / "demo.txt"
    command = [sys.executable, "-m", "examples.flights.demo"]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(COLUMNS)},
        check=True,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    output.write_text(run.stdout, encoding="utf-8")
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - never shown
    console.print(Text("$ make demo", style="bold green"))
    for line in shortened(run.stdout.splitlines()):
        text = Text(line, overflow="ellipsis", no_wrap=True)
        for pattern, style in STYLES.items():
            text.highlight_regex(re.compile(pattern), style)
        console.print(text)
    PICTURE.write_text(console.export_svg(title="spotbatch", theme=MONOKAI), encoding="utf-8")


def shortened(lines: list[str]) -> list[str]:
    """The same text with job ids cut to their first block, so that lines fit."""
    return [
        re.sub(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", r"\1", line) for line in lines
    ]


if __name__ == "__main__":
    main()
