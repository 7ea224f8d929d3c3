"""The dashboard: one page in a browser on this machine, for jobs on AWS or in the local region."""
