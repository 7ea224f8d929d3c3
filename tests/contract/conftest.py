"""What these tests share: AWS's service models are read once, and an AWS account is empty when a test begins."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import JSONFileLoader

if TYPE_CHECKING:
    from tests.contract.deploy_world import Account


_read: Any = JSONFileLoader.load_file


@lru_cache(maxsize=256)
def _read_once(path: str) -> Any:
    return _read(JSONFileLoader(), path)


@pytest.fixture(autouse=True, scope="session")
def service_models() -> Iterator[None]:
    """botocore parses its JSON anew in each session (EC2's: 0.2 s of CPU), and each test has settings of its own.

    The clients of one session share what was parsed, so those of several may.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(JSONFileLoader, "load_file", lambda _, path: _read_once(path))
        yield


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    """moto's server, for all tests of a module: it takes half a second to start."""
    from tests.contract.deploy_world import account_server  # moto is imported by those who use it

    with account_server() as endpoint:
        yield endpoint


@pytest.fixture
def account(moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Account":
    """An empty account; the test runs in its checkout."""
    from tests.contract.deploy_world import account

    made = account(moto_endpoint, tmp_path)
    monkeypatch.chdir(made.checkout)
    return made
