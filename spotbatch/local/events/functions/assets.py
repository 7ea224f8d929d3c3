"""The code that came with templates, stored in the region's home, so that a restart needs no cdk.out."""

import hashlib
import os
from pathlib import Path

from spotbatch.local.events.functions.code import asset_content, assets_beside


class Assets:
    """A folder of objects by key, as the CDK would have uploaded them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, template: Path) -> None:
        """Store the assets found next to a synthesized template; there may be none."""
        for key, path in assets_beside(template).items():
            place = self._place(key)
            if place.exists() or not path.exists() or key.endswith(".json"):  # its key is a hash of its content
                continue
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            making = place.with_name(f"{place.name}.{os.getpid()}")
            making.write_bytes(asset_content(path))
            making.rename(place)

    def content(self, key: str) -> bytes | None:
        """The object with a key; None if no template included it."""
        try:
            return self._place(key).read_bytes()
        except OSError:
            return None

    def _place(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()
