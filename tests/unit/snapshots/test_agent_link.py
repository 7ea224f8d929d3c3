"""The runtime's end of the connection: every failure is a refusal, and none is waited for without end."""

import json
import socket
import threading
from pathlib import Path

import pytest

from spotbatch.runtime.snapshot import agent_link
from spotbatch.runtime.snapshot.agent_link import AgentLink
from spotbatch.runtime.snapshot.refusal import NoSnapshot
from spotbatch.snapshots.__main__ import listen
from spotbatch.snapshots.protocol import SOCKET_NAME, UNAVAILABLE_NAME


def test_a_host_without_an_agent_gives_the_reason_that_it_left(tmp_path: Path) -> None:
    with pytest.raises(NoSnapshot, match="this host has no snapshot agent"):
        AgentLink(tmp_path)
    (tmp_path / UNAVAILABLE_NAME).write_text(json.dumps({"why": "CRIU is not there"}))
    with pytest.raises(NoSnapshot, match="CRIU is not there"):
        AgentLink(tmp_path)


def test_an_agent_that_never_answers_is_given_up_and_the_command_counts_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_link, "_SPARE_SECONDS", 0.0)
    with listen(str(tmp_path / SOCKET_NAME)):
        link = AgentLink(tmp_path)
        with pytest.raises(NoSnapshot, match="does not answer") as found:
            link.dump(1, 0.1)
        assert found.value.is_broken
        link.close()


@pytest.mark.parametrize(
    ("answer", "why", "is_broken"),
    [
        (b'{"ok": false, "why": "no", "broken": false}', "no", False),
        (b'{"ok": false, "why": "stuck", "broken": true}', "stuck", True),
        (b'{"ok": true, "bytes": 1, "seconds": 1}', "sent no images", True),
        (b"nonsense", "does not answer", True),
    ],
)
def test_an_answer_that_is_no_images_is_a_refusal(tmp_path: Path, answer: bytes, why: str, is_broken: bool) -> None:
    with listen(str(tmp_path / SOCKET_NAME)) as listener:

        def serve() -> None:
            connection: socket.socket = listener.accept()[0]
            with connection:
                connection.recv(65536)
                connection.send(answer)

        server = threading.Thread(target=serve)
        server.start()
        link = AgentLink(tmp_path)
        with pytest.raises(NoSnapshot, match=why) as found:
            link.dump(1, 5)
        assert found.value.is_broken == is_broken
        link.close()
        server.join(10)
