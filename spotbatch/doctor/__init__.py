"""Why a job does not start, or why it failed: causes with their evidence and the fix. Nothing is printed here."""
