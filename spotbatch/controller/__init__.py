"""The run controller: moves jobs between Spot and on demand, grows their memory, keeps deadlines and budgets."""
