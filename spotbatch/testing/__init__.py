"""A local region for tests: what `pip install 'spotbatch[local]'` adds to pytest."""
