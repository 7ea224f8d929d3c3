"""The Lambda function that collects metrics; it needs nothing outside this folder."""
