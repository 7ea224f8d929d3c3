"""AWS's service models are botocore's, found more quickly."""

from pathlib import Path

import pytest
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader

from spotbatch.aws.core_session import quick_loader


@pytest.mark.parametrize("kind", ["service-2", "paginators-1", "endpoint-rule-set-1"])
def test_a_model_is_botocores_own(kind: str) -> None:
    assert quick_loader(None).load_service_model("batch", kind) == Loader().load_service_model("batch", kind)


@pytest.mark.parametrize("service", ["no-such-service", "batch/../batch"])
def test_a_service_that_does_not_exist_is_an_error_of_botocores_family(service: str) -> None:
    with pytest.raises(DataNotFoundError):
        quick_loader(None).load_service_model(service, "service-2")


def test_models_of_the_users_own_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "mine" / "2026-01-01").mkdir(parents=True)
    (tmp_path / "mine" / "2026-01-01" / "service-2.json").write_text('{"metadata": {}}')
    found = quick_loader(f"{tmp_path}").load_service_model("mine", "service-2")
    assert found == {"metadata": {}}
