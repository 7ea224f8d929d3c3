"""A session for this process's own AWS settings that starts quickly: botocore's, where boto3's is not needed.

The clients are the same. boto3 adds transfers and resources, whose modules take a tenth of a second to load; and
botocore reads 400 folders for each kind of service model it loads, 20 ms a kind, three kinds a command. A service that
does not exist is an error here too, of the same family (botocore's UnknownServiceError is a DataNotFoundError).
"""

import os
from pathlib import Path
from typing import Any

from botocore.loaders import Loader
from botocore.session import Session


class QuickLoader(Loader):
    """botocore's loader; it takes every folder of a service for one that has the kind of file asked for."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's own parameter
        """The names of all folders of services; whether one has this kind of file is found when it is loaded."""
        folders = [Path(each) for each in self.search_paths if Path(each).is_dir()]
        return sorted({service.name for each in folders for service in each.iterdir()})


def quick_loader(search_path: Any) -> QuickLoader:
    """A loader with the folders of the setting `data_path` (AWS_DATA_PATH), as botocore's own has them."""
    folders = [str(Path(os.path.expandvars(each)).expanduser()) for each in (search_path or "").split(os.pathsep)]
    return QuickLoader(extra_search_paths=[each for each in folders if search_path and each])


class CoreSession:
    """What this project uses of a boto3.Session. Raises ProfileNotFound, at once, as boto3's does."""

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        self._core = Session(profile=profile)
        self._core.register_component("data_loader", quick_loader(self._core.get_config_variable("data_path")))
        if self._core.profile:
            self._core.get_scoped_config()
        self.region_name: str | None = region or self._core.get_config_variable("region")

    def client(self, service: str, *, region_name: str | None, endpoint_url: str | None, config: Any) -> Any:
        """A client for a service; the settings' own region and endpoint where none is given."""
        region = region_name or self.region_name
        return self._core.create_client(service, region_name=region, endpoint_url=endpoint_url, config=config)
