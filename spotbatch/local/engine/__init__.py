"""The engine of the local region: journal, hosts, processes, logs, and a real clock that drives the scheduler."""

from spotbatch.local.contract import EngineSettings
from spotbatch.local.engine.engine import LocalEngine
from spotbatch.local.engine.journal import Journal


async def open_engine(settings: EngineSettings) -> LocalEngine:
    """Open the journal, end what a killed region left running, resume its jobs, and get ready.

    Raises Unavailable if the journal cannot be opened or belongs to a newer version.
    """
    engine = LocalEngine(settings, Journal(settings.home))
    await engine.open()
    return engine
