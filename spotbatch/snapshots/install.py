"""Installing CRIU: Debian's packages, by name, at pinned versions and checksums, unpacked into a folder of their own.

Nothing is installed into the system, and apt's own lists and cache stay as they are: it is given others. CRIU is
licensed under the GPL, version 2, and is run as a separate program, unmodified; beside it lie the libraries that Debian
built it with, each under its own licence (`usr/share/doc` in the folder). The versions are those of Debian's unstable
distribution, which moves on; then they are found in its archive (snapshot.debian.org).
"""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spotbatch.snapshots.criu import Criu

VERSION = "4.2.1-1"
_PACKAGES = Path(__file__).with_name("criu-packages.csv")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ARCHIVES = ("http://deb.debian.org/debian", "http://snapshot.debian.org/archive/debian/20261030T090000Z")
_NEEDED = ("apt-get", "dpkg-deb")
_SECONDS = 600.0


class NotInstalled(Exception):
    """It could not be installed; nothing was changed. The text says what is missing."""


class Package(NamedTuple):
    """One pinned package of Debian's, for amd64."""

    name: str
    version: str
    sha256: str


def criu_folder() -> Path:
    """Where CRIU is expected: SPOTBATCH_CRIU, or a folder below XDG_DATA_HOME or ~/.local/share."""
    given = os.environ.get("SPOTBATCH_CRIU")
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(given or f"{data}/spotbatch/criu-{VERSION}")


def packages() -> list[Package]:
    """CRIU and the libraries that it needs."""
    with _PACKAGES.open(encoding="ascii", newline="") as file:
        return [Package(row["package"], row["version"], row["sha256"]) for row in csv.DictReader(file)]


def install(folder: Path, say: Callable[[str], object]) -> str:
    """Put CRIU into a folder that does not exist yet; returns its version. Raises NotInstalled, OSError."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise NotInstalled(f"the pinned packages are for Linux on x86_64, and this is {platform.platform()}")
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        raise NotInstalled(f"{' and '.join(missing)} is not on this machine: install on a Debian or Ubuntu host")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".criu-") as name:
        work = Path(name)
        work.chmod(0o755)
        apt = _apt(work)
        say("fetching Debian's list of packages")
        _run([*apt, "update"], work)
        wanted = packages()
        say(f"fetching criu {VERSION} (GPL-2) and {len(wanted) - 1} libraries")
        _run([*apt, "download", *(f"{each.name}={each.version}" for each in wanted)], work)
        for each in wanted:
            _run(["dpkg-deb", "-x", str(checked(each, work)), str(work / "tree")], work)
        version = _version(work / "tree")
        (work / "tree").chmod(0o755)
        (work / "tree").rename(folder)
    return version


def checked(package: Package, folder: Path) -> Path:
    """The package's file in a folder. Raises NotInstalled if it is not there, or not the pinned one."""
    named = package.version.replace(":", "%3a")
    file = next(folder.glob(f"{package.name}_{named}_*.deb"), None)
    if file is None:
        raise NotInstalled(f"{package.name} {package.version} did not arrive")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        raise NotInstalled(f"{file.name} has the SHA-256 {found}, and {package.sha256} is pinned: it is not used")
    return file


def _apt(work: Path) -> list[str]:
    """apt-get with sources, lists and cache of its own (apt.conf(5))."""
    for each in ("state/lists/partial", "cache/archives/partial"):
        (work / each).mkdir(parents=True)
    (work / "status").touch()
    signed = f" signed-by={_KEYRING}" if os.path.exists(_KEYRING) else ""
    options = f"[arch=amd64 check-valid-until=no{signed}]"
    (work / "sources.list").write_text("".join(f"deb {options} {each} sid main\n" for each in _ARCHIVES))
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def _run(command: list[str], work: Path) -> None:
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{command[0]} did not end within {_SECONDS:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise NotInstalled(f"{command[0]} failed: {' '.join(lines[-3:])}")


def _version(tree: Path) -> str:
    try:
        return Criu(str(tree)).version
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise NotInstalled(f"what was unpacked does not run: {error}") from error
