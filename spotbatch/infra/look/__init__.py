"""The Lambda function that looks; its folder is all that it needs."""
