"""The agent of one host: answers containers that ask for a dump of their command, or for a restore.

It serves only the process at the other end of the socket, and only if that is the first of a pid namespace of its own:
a container can have nothing dumped but its own children, and nothing restored but what an agent dumped. Images lie in
a folder that only root can open; a container gets the open folder to read from.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spotbatch.snapshots import processes
from spotbatch.snapshots.criu import Criu, check_arguments, dump_arguments, errors_in, read_log, restore_arguments
from spotbatch.snapshots.images import BadImages, copy_sealed, seal, stuck_timers
from spotbatch.snapshots.protocol import FIRST_PID, MOST_BYTES, MOST_FDS, decoded, encoded, refusal

_TIMER_TRIES = 3
_TIMER_PAUSE_SECONDS = 0.05
_LEAST_FREE_BYTES = 256 << 20  # left on the disk that images are written to
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_IDLE_SECONDS = 900.0  # for a container to read its images
_MOST_SECONDS = 600.0


class Refused(Exception):
    """Nothing was done, or all is as before; the text is for the user."""


class Broken(Exception):
    """The command may have been damaged: it must not run on."""


Answer = tuple[dict[str, Any], list[int]]  # and the descriptors sent with it
Handler = Callable[[dict[str, Any], int, list[int], contextlib.ExitStack], Answer]


class Agent:
    """Serves any number of sockets, each connection in a thread of its own."""

    def __init__(self, criu: Criu, key: bytes, folder: str) -> None:
        """`folder` is where images are written, readable by root alone."""
        self._criu = criu
        self._key = key
        self._folder = folder
        self._pid_lock = threading.Lock()  # a restore must not be disturbed by another namespace's numbering

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the socket is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        with contextlib.ExitStack() as stack:
            stack.callback(_close, descriptors)
            stack.enter_context(connection)
            connection.settimeout(_IDLE_SECONDS)
            while True:
                try:
                    data, given, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_FDS)
                    descriptors += given
                    if not data:
                        return
                    answer, sent = self._answer(decoded(data), _peer(connection), given, stack)
                    socket.send_fds(connection, [encoded(answer)], sent)
                except (OSError, ValueError):
                    return  # the container has gone, or does not speak our language

    def _answer(self, request: dict[str, Any], peer: int, given: list[int], stack: contextlib.ExitStack) -> Answer:
        handlers: dict[str, Handler] = {"begin": _begin, "dump": self._dump, "restore": self._restore}
        try:
            return handlers[request["do"]](request, _served(peer), given, stack)
        except Refused as no:
            return refusal(str(no)), []
        except Broken as no:
            return refusal(str(no), is_broken=True), []
        except (KeyError, TypeError, ValueError) as error:
            return refusal(f"a request that makes no sense: {error!r}"), []
        except OSError as error:
            return refusal(f"on the host: {error}"), []

    # --- dump

    def _dump(
        self,
        request: dict[str, Any],
        peer: int,
        given: list[int],  # noqa: ARG002 - a handler's signature
        stack: contextlib.ExitStack,
    ) -> Answer:
        give_up = time.monotonic() + min(float(request["seconds"]), _MOST_SECONDS)
        target = processes.child_with_inner_pid(peer, int(request["pid"]))
        if target is None:
            raise Refused("the command has ended")
        held = self._inspected(peer, target)
        folder, images = self._new_folder(stack)
        arguments = dump_arguments(int(request["pid"]), has_tcp=held.has_tcp, has_inotify=held.has_inotify)
        began = time.monotonic()
        self._dump_until_sound(arguments, target, folder, images, give_up)
        frozen_seconds = time.monotonic() - began
        facts = {"criu": self._criu.version, "kernel": os.uname().release, "tcp": held.has_tcp}
        try:
            self._criu.run(["cpuinfo", "dump"], images, 20)
            sealed = seal(images, self._key, facts)
            for name in os.listdir(images):
                os.chmod(f"{folder}/{name}", 0o444)  # the container's user reads them, through the open folder
            size = sum(each[0] for each in sealed["files"].values())
        except (OSError, BadImages) as error:
            _resume(target)
            raise Refused(f"the images could not be kept: {error}") from error
        return {"ok": True, "bytes": size, "seconds": round(frozen_seconds, 3), **facts}, [images]

    def _inspected(self, peer: int, target: int) -> processes.Holdings:
        """Raises Refused if the command's processes cannot be dumped so that they would go on right."""
        others = [pid for pid in processes.children(peer) if pid != target and processes.is_living(pid)]
        if others:
            raise Refused(f"{len(others)} of its processes have left it (daemons): they would be lost")
        for _ in range(_TIMER_TRIES):
            held = processes.holdings(processes.tree(target))
            if held.refusals:
                raise Refused("; ".join(held.refusals[:3]))
            if not held.stuck_timers:
                break
            time.sleep(_TIMER_PAUSE_SECONDS)
        free_bytes = shutil.disk_usage(self._folder).free - _LEAST_FREE_BYTES
        if held.memory_bytes > free_bytes:
            raise Refused(
                f"its memory is {held.memory_bytes >> 20} MiB, and the host's disk has room for {free_bytes >> 20} MiB"
            )
        return held

    def _dump_until_sound(self, arguments: list[str], target: int, folder: str, images: int, give_up: float) -> None:
        """Dump until no timer was caught at zero; leaves the processes stopped."""
        for _ in range(_TIMER_TRIES):
            ended = self._criu.run(arguments, images, max(0.1, give_up - time.monotonic()), inside=_init_of(target))
            if ended.code is None:
                raise Broken("the dump did not end in time")
            if ended.code != 0:
                _resume(target)
                is_living = processes.is_living(target)
                raise Refused(errors_in(read_log(images, "dump.log")) if is_living else "it has ended")
            if not stuck_timers(Path(folder, "files.img").read_bytes()):
                return
            _resume(target)
            time.sleep(_TIMER_PAUSE_SECONDS)
            for name in os.listdir(images):
                os.unlink(name, dir_fd=images)
        raise Refused("a periodic timer (timerfd) has expired and was not read: restored, it would never fire again")

    def _new_folder(self, stack: contextlib.ExitStack) -> tuple[str, int]:
        """A private folder, removed when the connection ends, and a descriptor of it."""
        folder = tempfile.mkdtemp(dir=self._folder)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, descriptor)
        os.chmod(folder, 0o755)  # noqa: S103 - it lies in a folder that only root can enter
        return folder, descriptor

    # --- restore

    def _restore(self, request: dict[str, Any], peer: int, given: list[int], stack: contextlib.ExitStack) -> Answer:
        seconds, names = min(float(request["seconds"]), _MOST_SECONDS), [str(name) for name in request["pipes"]]
        if len(given) != 1 + len(names):
            raise Refused("the images' folder and one descriptor for each pipe are wanted")
        give_up = time.monotonic() + seconds
        _, images = self._new_folder(stack)
        try:
            facts = copy_sealed(given[0], images, self._key)
        except BadImages as problem:
            raise Refused(f"the images are not used: {problem}") from problem
        self._check_host(facts, images)
        before = set(processes.children(peer))
        pipes = list(zip(names, given[1:]))  # noqa: B905 - Python 3.9; their numbers are equal, see above
        began = time.monotonic()
        ended = self._criu.run(
            restore_arguments(pipes, has_tcp=bool(facts.get("tcp"))),
            images,
            max(0.1, give_up - time.monotonic()),
            inside=peer,
            descriptors=given[1:],
            cgroups=_foreign_cgroups(peer),
        )
        born = [pid for pid in processes.children(peer) if pid not in before]
        why = ""
        if ended.code != 0:
            why = "it did not end in time" if ended.code is None else errors_in(read_log(images, "restore.log"))
        elif len(born) != 1:
            why = f"{len(born)} processes came of it instead of one"
        elif not processes.is_in_cgroups_of(born[0], peer):
            why = "it is outside the container's cgroup, so its limits would not hold"
        if why:
            _kill(born)
            raise Refused(why)
        inner = [processes.inner_pid(pid) for pid in processes.tree(born[0])]
        _raise_pids(peer, max(inner))
        restored_seconds = round(time.monotonic() - began, 3)
        return {"ok": True, "pid": processes.inner_pid(born[0]), "seconds": restored_seconds}, []

    def _check_host(self, facts: dict[str, Any], images: int) -> None:
        if facts.get("criu") != self._criu.version:
            raise Refused(f"dumped with criu {facts.get('criu')}, and this host has {self._criu.version}")
        if self._criu.run(check_arguments(), images, 20).code != 0:
            raise Refused("this host's processor lacks instructions that the dumped program may use")


def _begin(
    request: dict[str, Any],  # noqa: ARG001 - a handler's signature
    peer: int,
    given: list[int],  # noqa: ARG001
    stack: contextlib.ExitStack,  # noqa: ARG001
) -> Answer:
    """Make room for the command's pids: they must be free in any container that it is restored in."""
    _raise_pids(peer, FIRST_PID)
    return {"ok": True}, []


def _served(peer: int) -> int:
    """A process that we serve. Raises Refused."""
    if not processes.is_init(peer):
        raise Refused("spotrun is not the first process (PID 1) of its container")
    return peer


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


def _peer(connection: socket.socket) -> int:
    """The pid, in our namespace, of whoever connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[0])


def _init_of(target: int) -> int:
    """The process whose namespaces a command's dump is taken in: its parent, which is the container's first."""
    try:
        return processes.parent(target)
    except ValueError as error:
        raise Refused("the command has ended") from error


def _raise_pids(peer: int, last: int) -> None:
    """The next pid in a namespace is above this. The file acts on the namespace of whoever writes it."""
    import subprocess

    subprocess.run(
        ["nsenter", "-t", str(peer), "-p", "--", "/bin/sh", "-c", f"echo {last} > /proc/sys/kernel/ns_last_pid"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=5,
        check=True,
    )


def _foreign_cgroups(peer: int) -> list[str]:
    """The cgroups that we would have to join to be where a container is."""
    return [] if processes.cgroups(peer) == processes.cgroups(os.getpid()) else processes.cgroup_files(peer)


def _resume(target: int) -> None:
    """Let stopped processes run on, children first: by the time a parent looks, nothing is stopped any more."""
    for pid in reversed(processes.tree(target)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _kill(pids: list[int]) -> None:
    for top in pids:
        for pid in processes.tree(top):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
