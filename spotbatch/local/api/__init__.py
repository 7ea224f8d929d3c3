"""The region's endpoint: AWS's HTTP shapes on one side, the engine's contract on the other."""
