"""Money, pure: the catalogue, price history, usage, unit prices, cost reports and estimates. Decimal USD throughout."""
