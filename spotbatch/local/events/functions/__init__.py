"""Lambda functions as processes: their code, their runtime, how they are called."""
