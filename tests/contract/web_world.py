"""A dashboard in front of a real local region, asked over HTTP or looked at with a real browser."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from spotbatch.runs import endpoint
from tests.contract.cli_world import CliWorld, program

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = "SPOTBATCH_SCREENSHOTS"  # a folder in which the pictures that the tests take are kept
WIDE = (1280, 900)
PHONE = (390, 844)


@contextlib.contextmanager
def local_settings(home: Path) -> Iterator[None]:
    """This process works in the region of a folder, as after `--local`; its environment is put back afterwards."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "SPOTBATCH_")) and name != PICTURES:
            del os.environ[name]
    os.environ.update({"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    os.environ["SPOTBATCH_HOME"] = str(home)
    try:
        endpoint.use_local()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, kw_only=True)
class WebWorld:
    """A dashboard that runs as a user starts it: `spotbatch dashboard`, in a process of its own."""

    printed: str  # the link
    process: "subprocess.Popen[str]"

    @property
    def port(self) -> int:
        return urlsplit(self.printed).port or 0

    @property
    def key(self) -> str:
        return self.printed.rpartition("key=")[2]

    @property
    def cookie(self) -> str:
        return f"spotbatch-{self.port}={self.key}"

    def ask(
        self, path: str, *, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, with the cookie unless the headers say otherwise ("" leaves a header out)."""
        sent = {"Cookie": self.cookie, "Host": f"127.0.0.1:{self.port}", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            data = (body or "").encode()
            for name, value in {**sent, "Content-Length": str(len(data))}.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Answer(status=answer.status, headers=dict(answer.getheaders()), text=text)
        finally:
            connection.close()

    def url(self, path: str = "/") -> str:
        """A link with the key."""
        return f"http://127.0.0.1:{self.port}{path}?key={self.key}"


@contextlib.contextmanager
def web_world(world: CliWorld, *arguments: str) -> Iterator[WebWorld]:
    """A dashboard for a region, ended with Ctrl-C when the block ends; fails if it complained or did not end well."""
    environ = {"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1", "PYTHONWARNINGS": "default"}
    process = program("dashboard", "--port", "0", *arguments, environ=environ)
    try:
        assert process.stdout is not None
        yield WebWorld(printed=process.stdout.readline().strip(), process=process)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=15)
        assert process.returncode == 0, complaints
        assert "Traceback" not in complaints, complaints
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def axe_script() -> str:
    """axe-core's own script, as the package that wraps it ships it."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@dataclass(kw_only=True)
class Browser:
    """A page in Chromium, everything that it complained about, and every address that it asked for."""

    page: "Page"
    folder: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def picture(self, name: str) -> Path:
        """Keep what the page looks like."""
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def serious(self) -> list[str]:
        """What axe finds of serious or critical impact, with the elements."""
        self.page.evaluate(axe_script())
        found: Any = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]


@contextlib.contextmanager
def chromium() -> Iterator["Chromium"]:
    """Chromium without a window; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield launched
        finally:
            launched.close()


@contextlib.contextmanager
def browser(
    running: "Chromium", folder: Path, *, size: tuple[int, int] = WIDE, dark: bool = False, **settings: Any
) -> Iterator[Browser]:
    """A page in a fresh context: no cookies, nothing kept from other tests."""
    kept = Path(os.environ.get(PICTURES) or folder)
    kept.mkdir(parents=True, exist_ok=True)
    context = running.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light", **settings
    )
    try:
        page = context.new_page()
        page.set_default_timeout(30_000)
        made = Browser(page=page, folder=kept)
        page.on("console", lambda line: made.complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: made.complaints.append(str(error)))
        page.on("request", lambda request: made.requests.append(request.url))
        yield made
    finally:
        context.close()


def number_in(text: str) -> int:
    """The first whole number of a text."""
    found = re.search(r"\d[\d,]*", text)
    assert found is not None, text
    return int(found[0].replace(",", ""))
