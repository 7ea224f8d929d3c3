"""What a child's input is called on the page."""

import pytest

from spotbatch.runs.inputs import input_label


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("s3://bucket/artifacts/runs/logs-20261129-a1b2c3/inputs/files/0000007/app-007.log.gz", "app-007.log.gz"),
        ("s3://bucket/artifacts/runs/r/inputs/files/0000007/100%25.txt", "100%.txt"),
        ("s3://bucket/runs/r/inputs/files/0000007/logs/app-007.log.gz", "logs/app-007.log.gz"),
        ("s3://raw/2026/11/x.csv", "s3://raw/2026/11/x.csv"),
        ("chromosome 7", "chromosome 7"),
        ("", ""),
    ],
)
def test_a_file_that_was_sent_along_is_called_by_its_own_name(line: str, label: str) -> None:
    assert input_label(line) == label
