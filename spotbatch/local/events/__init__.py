"""What happens in the region as events, and what a template attaches to them: rules, functions, metrics and alarms."""
