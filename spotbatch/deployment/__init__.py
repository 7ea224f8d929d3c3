"""The stack in an AWS account: deploy, take down, images. Progress is handed to the caller."""
