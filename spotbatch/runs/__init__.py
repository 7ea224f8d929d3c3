"""What a user works with: requests, runs, results, logs and bill. Values in, values out; nothing is printed."""
