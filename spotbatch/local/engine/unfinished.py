"""The jobs in a home's journal that have not ended: read before a start, without changing anything."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from spotbatch.local.engine.journal import FILE_NAME
from spotbatch.local.engine.packing import unpack
from spotbatch.local.engine.schema import FIRST_PACKED


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """The jobs that the next start resumes, by image, and whether ARNs were given out."""

    jobs_of_image: Mapping[str, int] = field(default_factory=dict)
    has_resources: bool = False

    @property
    def jobs(self) -> int:
        return sum(self.jobs_of_image.values())


def unfinished_in(home: Path) -> Unfinished:
    """Empty for a new home, and for an unreadable journal: opening it reports what is wrong."""
    path = home / FILE_NAME
    if not path.exists():
        return Unfinished()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            images = Counter(str(json.loads(container)["image"]) for container in _containers(connection))
            (resources,) = connection.execute("SELECT COUNT(*) FROM resource").fetchone()
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return Unfinished()
    return Unfinished(jobs_of_image=images, has_resources=resources > 0)


def _containers(connection: sqlite3.Connection) -> Iterator[str]:
    """The container of each job that has not ended, from a journal of any version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < FIRST_PACKED:
        yield from (row[0] for row in connection.execute("SELECT container FROM job WHERE ended_at IS NULL"))
    else:
        for (packed,) in connection.execute("SELECT packed FROM job WHERE ended_at IS NULL"):
            yield unpack(packed).container
