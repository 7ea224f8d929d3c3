"""The state machine of AWS Batch: events and the time go in, commands come out. `Scheduler` is its face."""

from spotbatch.batch.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
