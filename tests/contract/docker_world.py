"""An image for tests of containers, made of a few programs of this machine, so that nothing is downloaded."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

PROGRAMS = ("sh", "cat", "echo", "env", "head", "id", "sleep", "tail", "touch")


def why_no_engine() -> str | None:
    """Why containers cannot be tried here; None where an engine answers."""
    if shutil.which("docker") is None:
        return "there is no docker command here"
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return None if asked.returncode == 0 else "no Docker engine answers here"


def docker(*arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"docker {arguments}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


def make_image(name: str, *changes: str) -> None:
    """An image with a shell and little else. `changes` are lines of a Dockerfile."""
    files: dict[str, Path] = {}
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found is not None, program
        files[f"bin/{program}"] = Path(found)
        linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+)", linked):
            files[library.lstrip("/")] = Path(library)
    root = io.BytesIO()
    above = {str(parent) for path in files for parent in PurePosixPath(path).parents if parent.name}
    with tarfile.open(fileobj=root, mode="w") as tar:
        for folder in sorted(above):  # Docker 20.10 makes folders that the archive does not name for root alone
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, source in files.items():
            entry = tarfile.TarInfo(path)
            content = source.resolve().read_bytes()
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for folder in ("tmp", "etc", "work"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    docker("import", *(f"--change={change}" for change in changes), "-", name, data=root.getvalue())
