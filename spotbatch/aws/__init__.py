"""The only users of boto3: jobs, logs, results, stack outputs, prices, deployment, each behind plain values."""
