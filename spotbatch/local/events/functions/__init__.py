"""Lambda functions as processes: their code, their runtime, and their invocation."""
