"""`python -m spotbatch.snapshots --criu FOLDER --key FILE --images FOLDER --socket PATH`: the host's agent.

It ends when its standard input does, if that is a pipe: so it never outlives what started it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

from spotbatch.snapshots.agent import Agent
from spotbatch.snapshots.criu import Criu


def main() -> None:
    """Serve one socket until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m spotbatch.snapshots", description="The host's snapshot agent.")
    parser.add_argument("--criu", required=True, help="the folder with the unpacked CRIU")
    parser.add_argument("--key", required=True, help="a file with the key that signs images; made if missing")
    parser.add_argument("--images", required=True, help="a folder for images; only root may enter it")
    parser.add_argument("--socket", required=True, help="where containers connect")
    given = parser.parse_args()
    folder = Path(given.images)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    agent = Agent(Criu(given.criu), key_in(Path(given.key)), str(folder))
    listener = listen(given.socket)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=agent.serve, args=(listener,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        while os.read(0, 4096):
            pass
    else:
        signal.pause()
    os._exit(0)


def listen(path: str) -> socket.socket:
    """A socket that everybody may connect to: whom it serves is decided by who that is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        beside = f"{path}.new"
        Path(beside).unlink(missing_ok=True)
        made.bind(beside)
        os.chmod(beside, 0o666)  # noqa: S103 - see above
        made.listen(64)
        os.rename(beside, path)
        return socket.socket(fileno=made.detach())


def key_in(file: Path) -> bytes:
    """The key in a file that only root can read; a new one if there is none."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()
    with os.fdopen(descriptor, "wb") as new:
        key = secrets.token_bytes(32)
        new.write(key)
        return key


if __name__ == "__main__":
    main()
