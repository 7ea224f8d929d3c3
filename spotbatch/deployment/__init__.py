"""The stack in an AWS account: deploying it, removing it, and its images. Progress is reported to the caller."""
