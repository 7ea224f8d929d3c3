"""The controller of runs: moves jobs between Spot and on demand, gives them more memory, and keeps deadlines and budgets."""
