"""Jobs with a deadline: on Spot while that is safe, moved to on-demand capacity and back by the placement policy."""
