"""The artifact store: a folder or S3, and transfers beside each other."""
