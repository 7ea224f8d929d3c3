"""The only boto3: jobs, logs, results, stack outputs, prices, deployment, each behind plain values of ours."""
