"""The artifact store: a folder or S3, and parallel transfers."""
