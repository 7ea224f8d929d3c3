"""Packing a folder to send along with a job."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.runs import code
from spotbatch.runs.code import file_at_home, pack


def names(folder: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(pack(folder).archive)) as packed:
        return packed.getnames()


def make(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_without_git_what_can_be_made_again_stays_at_home(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "b/c.py", "__pycache__/a.pyc", ".venv/x", "node_modules/y/z", "b/__pycache__/c.pyc")
    assert names(tmp_path) == ["a.py", "b/c.py"]


def test_what_git_ignores_stays_at_home_and_what_is_new_goes_along(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "new.py", "secret.key", "data/big.bin", "gone.py").joinpath(".gitignore").write_text(
        "*.key\ndata/\n"
    )
    for command in (["init", "-q"], ["add", "a.py", "gone.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "gone.py").unlink()
    assert names(tmp_path) == [".gitignore", "a.py", "new.py"]
    assert names(make(tmp_path / "sub", "x.py")) == ["x.py"], "a folder of a checkout, by its own paths"


def test_an_ignore_file_of_our_own_names_files_folders_and_patterns(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "a.log", "deep/b.log", "data/x/y", "keep/data.py")
    (tmp_path / code.IGNORE_FILE).write_text("# logs\n*.log\n\ndata/\n.spotbatchignore\n")
    assert names(tmp_path) == ["a.py", "keep/data.py"]


def test_the_same_files_give_the_same_archive_and_a_changed_one_another(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "a", "b"), make(tmp_path / "two", "b", "a")
    os.utime(two / "a", (1, 1))
    assert pack(one).sha256 == pack(two).sha256
    (two / "a").chmod(0o755)
    assert pack(one).sha256 != pack(two).sha256


def test_what_is_too_large_is_refused_with_its_largest_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MOST_BYTES", 1000)
    make(tmp_path, "a.py")
    (tmp_path / "large.bin").write_bytes(os.urandom(3000))
    with pytest.raises(
        InvalidInput, match=r"too much to send along.*largest are large\.bin \(2\.9 KiB\).*\.spotbatchignore"
    ):
        pack(tmp_path)


def test_a_link_that_leads_out_of_the_folder_is_refused_and_one_inside_is_kept(tmp_path: Path) -> None:
    make(tmp_path, "a.py").joinpath("inside").symlink_to("a.py")
    assert names(tmp_path) == ["a.py", "inside"]
    (tmp_path / "outside").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="outside is a link to /etc/passwd"):
        pack(tmp_path)


def test_no_folder_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such folder"):
        pack(tmp_path / "none")
    with pytest.raises(InvalidInput, match="no file to send"):
        pack(tmp_path)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("python", "count.py"), "count.py"),
        (("python3.11", "count.py", "3"), "count.py"),
        (("bash", "./count.py"), "./count.py"),
        (("./count.py",), "./count.py"),
        (("python", "-m", "count"), None),
        (("python", "other.py"), None),
        (("echo", "count.py"), None),
        (("count.py",), None),
        (("sh", "-c", "cat count.py"), None),
        ((), None),
    ],
)
def test_a_program_that_is_only_here_is_noticed(tmp_path: Path, command: tuple[str, ...], named: str | None) -> None:
    make(tmp_path, "count.py")
    assert file_at_home(command, tmp_path) == named
