"""The controller of runs: it moves jobs between Spot and on demand, grows their memory, keeps deadlines and budgets."""
