"""spotbatch's constructs in CDK applications of one's own: three worked examples (docs/infra.md)."""
