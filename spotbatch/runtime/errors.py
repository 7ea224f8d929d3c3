"""What can go wrong in the runtime; a message says what, the value, and the fix.

SpotrunError
├── InvalidSetting     a variable or argument that cannot be used                 (exit 125, before the command starts)
├── StoreError         the artifact store does not answer: may pass, is retried
│   ├── Refused        it answers, and will not serve us: is not retried
│   └── Missing        the key is not there
├── Corrupt            what came back from the store is not what was stored there
├── Torn               a checkpoint file was being written while it was read
└── Superseded          a newer attempt of the same work has begun: this one must not save any more
"""


class SpotrunError(Exception):
    """Anything that the runtime says instead of a stack trace."""


class InvalidSetting(SpotrunError):
    """A variable or argument that cannot be used."""


class StoreError(SpotrunError):
    """The artifact store does not answer; this may pass."""


class Refused(StoreError):
    """The store answers, and will not serve us: no bucket, no permission."""


class Missing(StoreError):
    """The key is not in the store."""


class Corrupt(SpotrunError):
    """What came back from the store is not what was stored there."""


class Torn(SpotrunError):
    """A checkpoint file was being written while it was read."""


class Superseded(SpotrunError):
    """A newer attempt of the same work has begun."""
