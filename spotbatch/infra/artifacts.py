"""The bucket for what jobs produce: checkpoints, outputs, attempt records."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spotbatch.infra.settings import StackSettings


class Artifacts(Construct):
    """`bucket`: private, versioned, encrypted, TLS only; old objects move to cheaper storage, then expire."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: StackSettings) -> None:
        super().__init__(scope, construct_id)
        # Access logs through the bucket's policy, not an ACL, whatever the feature flags of the enclosing application.
        self.node.set_context("@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy", value=True)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS if settings.kms_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self._key() if settings.kms_key else None,
            bucket_key_enabled=settings.kms_key or None,
            server_access_logs_bucket=self._logs() if settings.access_logs else None,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # Not auto_delete_objects: it would add a Lambda function. cleanup.sh empties the bucket on request.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if settings.retain_data else RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="grow-cheaper",
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.INFREQUENT_ACCESS,
                            transition_after=Duration.days(settings.infrequent_access_days),
                        ),
                        s3.Transition(
                            storage_class=s3.StorageClass.GLACIER,
                            transition_after=Duration.days(settings.glacier_days),
                        ),
                    ],
                ),
                s3.LifecycleRule(
                    id="old-versions",
                    noncurrent_version_expiration=Duration.days(settings.old_version_days),
                    expired_object_delete_marker=True,
                ),
                s3.LifecycleRule(id="abandoned-uploads", abort_incomplete_multipart_upload_after=Duration.days(7)),
            ],
        )

    def _key(self) -> kms.Key:
        """The stack's own key, rotated once a year; it outlives the stack, since the bucket's objects need it."""
        return kms.Key(self, "Key", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)

    def _logs(self) -> s3.Bucket:
        """Who read and wrote the artifacts, for a year. S3 delivers such logs only to buckets with S3-managed keys."""
        return s3.Bucket(
            self,
            "AccessLogs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,  # so that nobody can alter the log
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="a-year", expiration=Duration.days(365), noncurrent_version_expiration=Duration.days(1)
                )
            ],
        )
