"""spotbatch: container batch work on AWS at the lowest cost, on Spot, without babysitting it."""

__version__ = "0.1.0"
