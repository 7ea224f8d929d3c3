"""What the tests of deploying and removing share: an AWS account that is empty at the beginning of each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.deploy_world import Account


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
