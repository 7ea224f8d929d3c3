"""The command as a running process tree: started, watched, interrupted and ended."""
