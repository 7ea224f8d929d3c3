"""Cost-optimized batch processing with AWS Batch and EC2 Spot: the CDK application's root.

A clone's folder is often called `spotbatch`, like the product in it. Whoever then imports from above, as pytest does,
finds this file under the product's name: so it becomes the product.
"""

from pathlib import Path

if __name__ == "spotbatch":
    _inner = Path(__file__).with_name("spotbatch")
    __path__.insert(0, str(_inner))
    __file__ = str(_inner / "__init__.py")
    exec(compile(Path(__file__).read_text(encoding="utf-8"), __file__, "exec"))  # noqa: S102 - our own file
