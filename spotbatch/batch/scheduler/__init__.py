"""AWS Batch's state machine: events and the time go in, commands come out. `Scheduler` is the facade."""

from spotbatch.batch.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
