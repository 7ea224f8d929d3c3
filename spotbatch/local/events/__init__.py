"""What happens in the region as events, and what a template hangs on them: rules, functions, metrics and alarms."""
