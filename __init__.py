"""Cost-optimized batch processing with AWS Batch and EC2 Spot: the CDK application's root."""
