"""The local region: AWS Batch on one machine, on 127.0.0.1, for any AWS Batch client."""
