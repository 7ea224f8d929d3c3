"""What a user has: requests, runs with their jobs, results, logs and bill. Values in, values out; it never prints."""
