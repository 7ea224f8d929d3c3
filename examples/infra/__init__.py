"""spotbatch's constructs in your own CDK applications: three worked examples (docs/infra.md)."""
