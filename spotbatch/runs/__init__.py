"""What a user works with: requests, runs and jobs, results, logs and bill. Values in, values out; nothing is printed."""
