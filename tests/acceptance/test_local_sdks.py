"""Programs written with the AWS SDKs for Go, Java and JavaScript do the same in a local region as they would in AWS."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.local_clients import (
    CLIENT_SECONDS,
    INSTALL_SECONDS,
    ROOT,
    client_environ,
    lost_attempts,
    reclaim_a_running_host,
    region_for,
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]

SOURCES = ROOT / "tests" / "clients"


def run_tool(command: list[str], folder: Path) -> None:
    """A package manager or compiler. A registry that has not got a package is a reason to skip; all else fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode and any(word in said for word in ("Could not find artifact", "Could not resolve", "ETARGET")):
        pytest.skip(f"{command[0]}: {said[:500]}")
    assert done.returncode == 0, said[-3000:]


def built(language: str) -> list[str]:
    """The command of a language's program: built below .cache/clients once for these sources, then kept."""
    files = sorted(file for file in (SOURCES / language).rglob("*") if file.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    folder = ROOT / ".cache" / "clients" / f"{language}-{digest}"
    chosen = LANGUAGES[language]
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SOURCES / language, folder)
        run_tool(list(chosen.build), folder)
        (folder / ".installed").touch()
    return [part.format(folder=folder) for part in chosen.run]


@dataclass(frozen=True, kw_only=True)
class Language:
    """An SDK's language: the programs that it needs, and how to build and run the story."""

    needs: tuple[str, ...]
    build: tuple[str, ...]
    run: tuple[str, ...]


LANGUAGES = {
    "go": Language(needs=("go",), build=("go", "build", "-mod=readonly", "-o", "story", "."), run=("{folder}/story",)),
    "java": Language(
        needs=("java", "javac", "mvn"),
        build=("mvn", "-B", "-q", "compile", "dependency:copy-dependencies"),
        run=("java", "-cp", "{folder}/target/classes:{folder}/target/dependency/*", "Story"),
    ),
    "javascript": Language(
        needs=("node", "npm"),
        build=("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"),
        run=("node", "{folder}/story.mjs"),
    ),
}


@pytest.mark.parametrize("is_reclaimed", [False, True], ids=["calm", "reclaimed"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_sdk_submits_follows_reads_terminates_pages_and_catches_errors_by_class(
    tmp_path: Path, language: str, is_reclaimed: bool
) -> None:
    chosen = LANGUAGES[language]
    if missing := [one for one in chosen.needs if shutil.which(one) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed here")
    command = built(language)
    with region_for(tmp_path, Path("/usr/bin")) as region:
        environment = {**client_environ(region, Path("/usr/bin"), tmp_path), "PATH": os.environ["PATH"]}
        log = tmp_path / "errors.txt"
        with log.open("wb") as errors:
            program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, cwd=tmp_path)
        try:
            if is_reclaimed:
                reclaim_a_running_host(region)
            out, _ = program.communicate(timeout=CLIENT_SECONDS)
        finally:
            program.kill()
            program.wait()
        assert program.returncode == 0, log.read_text(errors="replace")[-3000:]
        seen: dict[str, Any] = json.loads(out)
        assert seen["messages"] == [f"child {index}" for index in range(3)]
        assert {one.rpartition(":")[2] for one in seen["listed"]} == {"0", "1", "2"}
        assert (len(seen["listed"]), seen["pages"]) == (3, 2)
        assert seen["terminated"] == "enough"
        assert seen["errors"] == ["ClientException", "ResourceNotFoundException"]
        assert bool(lost_attempts(region)) is is_reclaimed
        assert (max(seen["attempts"]) > 1) is is_reclaimed
