"""What a test needs that is about the rights of files: root may read and write all of them."""

import os
import shutil
import subprocess

import pytest

_DROPPED = "-dac_override,-dac_read_search"


def without_roots_rights() -> str:
    """The words before a command that make it obey the rights of files; none where the tests do not run as root.

    The command stays root and owner of what it makes: another user could not reach a checkout below a folder of mode
    0700. The two capabilities are gone from the bounding set, so that exec does not give them back (capabilities(7)).
    """
    if os.geteuid() != 0:
        return ""
    wrapper = ["setpriv", f"--bounding-set={_DROPPED}", f"--inh-caps={_DROPPED}"]
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not there (Debian: util-linux), and root may read and write every file")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this root may not give up its capabilities (CAP_SETPCAP is missing)")
    return " ".join(wrapper)
