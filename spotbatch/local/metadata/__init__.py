"""The instance metadata service of the region's hosts (EC2 user guide, "Instance metadata"): answers and sessions."""
