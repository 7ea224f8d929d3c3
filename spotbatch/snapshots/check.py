"""Whether this machine can dump and restore processes, and if not, why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from spotbatch.snapshots.criu import Criu, errors_in

_SECONDS = 60.0


def why_not(folder: Path) -> str | None:
    """Why there can be no snapshots here with the CRIU in a folder; None if there can be."""
    if sys.platform != "linux":
        return f"dumping processes needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "dumping processes needs root"
    if shutil.which("nsenter") is None:
        return "nsenter (util-linux) is not installed"
    try:
        criu = Criu(str(folder))
    except FileNotFoundError:
        return f"CRIU is not in {folder}: `spotbatch snapshots install` puts it there"
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return f"the CRIU in {folder} does not run ({error}): install it again"
    top = os.open("/", os.O_RDONLY)
    try:
        found = criu.run(["check"], top, _SECONDS)
    finally:
        os.close(top)
    return None if found.code == 0 else f"CRIU cannot work with this kernel: {errors_in(found.text)}"
