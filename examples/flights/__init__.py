"""The demo workload: confidence intervals of the median departure delay of every carrier, month by month."""
