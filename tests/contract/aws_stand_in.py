"""A stand-in for those few answers of AWS that moto does not have, over real HTTP, by the name of the operation."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


@contextlib.contextmanager
def stand_in(answers: Mapping[str, Answer], *, blobs: Mapping[str, bytes] | None = None) -> Iterator[str]:
    """The address of a server that speaks AWS's JSON protocol: an operation's answer is a status and a body.

    `blobs` are handed out to GET requests, by their path.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, body = answers[operation](asked)
            self._say(status, json.dumps(body).encode())

        def do_GET(self) -> None:
            blob = (blobs or {}).get(self.path)
            self._say(404 if blob is None else 200, blob or b"")

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
