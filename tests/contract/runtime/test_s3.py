"""The artifact store on S3, against moto's server: the same behaviour as a folder, and clear refusals."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from spotbatch.batch.errors import Missing, Refused, StoreError
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.download import download
from spotbatch.runtime.storage.location import open_store
from spotbatch.runtime.storage.store import FolderStore, Store
from tests.contract.fault_proxy import Faults
from tests.contract.runtime_world import BUCKET, moto_s3, s3_environment, spot


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_s3() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{BUCKET}/{tmp_path.name}")


def test_objects_come_back_whole_in_parts_and_in_lists(store: Store, tmp_path: Path) -> None:
    store.put("a/b", b"0123456789")
    store.put("a/c/d", bytearray(b"xyz"))
    assert store.get("a/b") == b"0123456789"
    assert store.get_ranges("a/b", [(2, 3), (8, 2)]) == [b"234", b"89"]
    assert sorted(store.list("a/")) == [("a/b", 10), ("a/c/d", 3)]
    assert list(store.list("none/")) == []
    assert download(store, "a/b", tmp_path / "fetched", Limit(10)) == 10
    assert (tmp_path / "fetched").read_bytes() == b"0123456789"


def test_large_files_go_and_come_in_parts(store: Store, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 40
    (tmp_path / "large").write_bytes(data)
    store.put_file("large", tmp_path / "large")
    assert store.get("large") == data


def test_what_is_missing_is_missing_and_deleting_it_is_fine(store: Store) -> None:
    store.put("here", b"1")
    store.delete(["here", "never was"])
    with pytest.raises(Missing):
        store.get("here")


def test_more_than_a_thousand_objects_are_listed_and_deleted(store: Store) -> None:
    for number in range(1005):
        store.put(f"many/{number}", b"")
    names = [key for key, _ in store.list("many/")]
    assert len(names) == 1005
    store.delete(names)
    assert list(store.list("many/")) == []


def test_a_bucket_that_is_not_there_is_refused_at_once(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match="no such bucket"):
        open_store("s3://no-such-bucket-here/x").put("a", b"")


def test_a_store_that_does_not_answer_says_so_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError):
        open_store(f"s3://{BUCKET}/x").get("a")


def test_storage_that_is_down_for_a_while_delays_saves_and_harms_nothing(endpoint: str, tmp_path: Path) -> None:
    with (
        Faults(endpoint, seed=1, share=0.0) as faults,
        spot(tmp_path, f"s3://{BUCKET}/{tmp_path.name}", **s3_environment(faults.url)) as world,
    ):
        writes = (
            'i=0; while [ ! -e done ]; do i=$((i+1)); echo $i > "$SPOTBATCH_CHECKPOINT_DIR/n.tmp"; '
            'mv "$SPOTBATCH_CHECKPOINT_DIR/n.tmp" "$SPOTBATCH_CHECKPOINT_DIR/n"; sleep 0.02; done; echo finished'
        )
        run = world.start("sh", "-c", f"echo ready; {writes}")
        run.wait_for_text("ready")
        faults.is_down = True
        run.wait_for_text("does not answer; trying again")
        faults.is_down = False
        run.wait_for_text("answers again")
        (tmp_path / "done").touch()
        assert run.wait() == 0
        assert "finished" in run.text()


def test_storage_that_is_down_at_the_end_gives_212_and_claims_nothing(endpoint: str, tmp_path: Path) -> None:
    with Faults(endpoint, seed=1, share=0.0) as faults:
        url = f"s3://{BUCKET}/{tmp_path.name}"
        with spot(tmp_path, url, SPOTBATCH_UPLOAD_SECONDS="1", **s3_environment(faults.url)) as world:
            run = world.start(
                "sh", "-c", 'echo ready; while [ ! -e go ]; do sleep 0.02; done; echo 1 > "$SPOTBATCH_OUTPUT_DIR/r"'
            )
            run.wait_for_text("ready")
            faults.is_down = True
            (tmp_path / "go").touch()
            assert run.wait() == 212
            assert "NOT saved" in run.text() or "could not be saved" in run.text()
            faults.is_down = False
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(endpoint).items():
            patch.setenv(name, value)
        with pytest.raises(Missing):
            open_store(url).get("runs/work/job/output.json")


def test_no_credential_appears_in_the_log(endpoint: str, tmp_path: Path) -> None:
    secret = s3_environment(endpoint) | {"AWS_SECRET_ACCESS_KEY": "do-not-tell-anyone"}
    with spot(tmp_path, f"s3://no-such-bucket/{tmp_path.name}", SPOTBATCH_RESTORE_SECONDS="1", **secret) as world:
        code, text = world.run("true")
    assert code == 125
    assert "no such bucket" in text
    assert "do-not-tell-anyone" not in text


class _RefusesWithToken(BaseHTTPRequestHandler):
    """As S3 answers a request with a token that has expired: it quotes the token."""

    def do_PUT(self) -> None:
        body = (
            b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
            b"<Token-0>SECRET-TOKEN</Token-0></Error>"
        )
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Quiet."""


def test_an_error_says_code_and_message_and_never_the_session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), _RefusesWithToken) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        for name, value in s3_environment(f"http://127.0.0.1:{server.server_port}").items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreError) as caught:
            open_store(f"s3://{BUCKET}/x").put("key", b"data")
        server.shutdown()
    assert "ExpiredToken: The provided token has expired." in str(caught.value)
    assert "SECRET-TOKEN" not in str(caught.value)
