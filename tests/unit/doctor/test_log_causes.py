"""What the last lines of a log say: lines as programs, shells and libraries really print them."""
# ruff: noqa: E501 - the lines are what programs print

import pytest

from spotbatch.doctor.log_causes import cause_in, last_line, signature


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ModuleNotFoundError: No module named 'pandas'", "the module pandas is not in the image"),
        ("Error: Cannot find module 'express'", "the module express is not in the image"),
        (
            "python: can't open file '/x/scratch/4/count.py': [Errno 2] No such file or directory",
            "the program's file /x/scratch/4/count.py is not in the container",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'a b.csv'", "the file a b.csv is not in the container"),
        ("cat: /data/in.txt: No such file or directory", "the file /data/in.txt is not in the container"),
        ("ls: cannot access 'x y': No such file or directory", "the file x y is not in the container"),
        ("sh: 1: ffmpeg: not found", "the program ffmpeg is not in the image"),
        ("bash: line 1: ffmpeg: command not found", "the program ffmpeg is not in the image"),
        ("MemoryError", "it ran out of memory"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB: Cannot allocate memory", "it ran out of memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "it ran out of memory"),
        ("OSError: [Errno 28] No space left on device", "its disk was full"),
        ("PermissionError: [Errno 13] Permission denied: '/out'", "it has no right to a file or folder"),
        ("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied", "AWS refused it a permission"),
        ("exec /usr/bin/app: exec format error", "the program is built for another architecture than the host has"),
        ("curl: (6) Could not resolve host: example.com", "it could not reach another machine"),
        ("ValueError: bad row 7", "the program raised ValueError"),
        ("my.pkg.ConfigError: no key", "the program raised ConfigError"),
    ],
)  # fmt: skip
def test_a_line_that_names_its_cause_is_understood(line: str, cause: str) -> None:
    found = cause_in(["starting", line, ""])
    assert found is not None
    assert (found.cause, found.line) == (cause, line)


def test_a_log_that_names_no_cause_gives_none() -> None:
    assert cause_in(["step 1", "step 2", "done: 3 errors in the sky"]) is None
    assert cause_in([]) is None


def test_the_nearest_line_to_the_end_wins() -> None:
    found = cause_in(["ValueError: first", "ValueError: second"])
    assert found is not None
    assert found.line == "ValueError: second"


def test_lines_that_differ_only_in_numbers_look_alike_and_a_long_line_is_cut() -> None:
    assert signature("row 17 of 0a1b2c3d4e is bad") == signature("row 4 of ffffffffff is bad")
    assert signature("row 17 is bad") != signature("row 17 is good")
    assert signature("File '/tmp/spotrun-9rgmb5f_/code/a.py'") == signature("File '/tmp/spotrun-xy_z/code/a.py'")
    assert last_line(["a", "  b " + "x" * 300, " "]).endswith("…")
    assert last_line([]) == ""
