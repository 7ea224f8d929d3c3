"""The container registry: images are scanned on push, and old ones expire."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from spotbatch.infra.settings import StackSettings


class Images(Construct):
    """`repository`."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: StackSettings) -> None:
        super().__init__(scope, construct_id)
        self.repository = ecr.Repository(
            self,
            "Repository",
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE if settings.immutable_tags else ecr.TagMutability.MUTABLE,
            encryption=ecr.RepositoryEncryption.AES_256,
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if settings.retain_data else RemovalPolicy.DESTROY,
            empty_on_delete=not settings.retain_data,
            lifecycle_rules=[
                ecr.LifecycleRule(
                    rule_priority=1,
                    description="layers that no tag names",
                    tag_status=ecr.TagStatus.UNTAGGED,
                    max_image_age=Duration.days(7),
                ),
                ecr.LifecycleRule(
                    rule_priority=2,
                    description=f"all but the newest {settings.images_kept}",
                    tag_status=ecr.TagStatus.ANY,
                    max_image_count=settings.images_kept,
                ),
            ],
        )
