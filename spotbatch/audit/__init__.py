"""AWS Batch resources held against what this project knows: rules over a template or a live queue. Only looks."""
