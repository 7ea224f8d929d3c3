"""A local region for tests: what `pip install 'spotbatch[local]'` brings to pytest."""
