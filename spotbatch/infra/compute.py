"""The compute environment: Spot instances of many types in all zones, from zero to the maximum and back."""

from aws_cdk import Fn, Tags
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from spotbatch.infra.host_data import user_data
from spotbatch.infra.settings import Egress, StackSettings

_ROOT_DEVICE = "/dev/xvda"  # of Amazon Linux 2023


class Compute(Construct):
    """`environment`, `environment_arn` and `environment_name`.

    The L1 resource, since the L2 construct leaves out what safe updates need: the launch template's version (without
    it edits never reach instances) and the update policy. It has no name of its own: one would block its replacement.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StackSettings,
        subnets: ec2.SelectedSubnets,
        security_group: ec2.ISecurityGroup,
        instance_profile: iam.InstanceProfile,
        instance_role: iam.Role,
        service_role: iam.Role | None,
        tags: dict[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.launch_template = self._launch_template(settings, security_group, tags)
        template = batch.CfnComputeEnvironment.LaunchTemplateSpecificationProperty(
            launch_template_id=self.launch_template.ref,
            version=self.launch_template.attr_latest_version_number,
        )
        resources = batch.CfnComputeEnvironment.ComputeResourcesProperty(
            type="SPOT",
            allocation_strategy=settings.allocation_strategy.value,
            bid_percentage=settings.bid_percentage,
            minv_cpus=settings.min_vcpus,
            maxv_cpus=settings.max_vcpus,
            instance_types=list(settings.instance_types),  # never "optimal"
            instance_role=instance_profile.instance_profile_arn,
            subnets=subnets.subnet_ids,
            launch_template=template,
            ec2_configuration=[
                batch.CfnComputeEnvironment.Ec2ConfigurationObjectProperty(image_type="ECS_AL2023"),
            ],
            update_to_latest_image_version=True,
        )
        self.environment = batch.CfnComputeEnvironment(
            self,
            "Environment",
            type="MANAGED",
            state="ENABLED",
            service_role=service_role.role_arn if service_role else None,
            # An environment with a role of its own cannot be updated in place: then it is replaced.
            replace_compute_environment=service_role is not None,
            compute_resources=resources,
            update_policy=None
            if service_role
            else batch.CfnComputeEnvironment.UpdatePolicyProperty(
                terminate_jobs_on_update=False, job_execution_timeout_minutes=30
            ),
        )
        # Roles go after the environment: without them AWS Batch cannot end its instances, and the deletion hangs.
        self.environment.node.add_dependency(instance_role)
        if service_role:
            self.environment.node.add_dependency(service_role)
        self.environment_arn = self.environment.attr_compute_environment_arn
        self.environment_name = Fn.select(1, Fn.split("/", self.environment_arn))

    def _launch_template(
        self, settings: StackSettings, security_group: ec2.ISecurityGroup, tags: dict[str, str]
    ) -> ec2.CfnLaunchTemplate:
        cfn = ec2.CfnLaunchTemplate
        all_tags = [{"key": key, "value": value} for key, value in tags.items()]
        interface = cfn.NetworkInterfaceProperty(
            device_index=0,
            groups=[security_group.security_group_id],
            associate_public_ip_address=settings.egress is Egress.PUBLIC,
            delete_on_termination=True,
        )
        disk = cfn.EbsProperty(
            volume_type="gp3", volume_size=settings.volume_gib, encrypted=True, delete_on_termination=True
        )
        template = cfn(
            self,
            "LaunchTemplate",
            launch_template_data=cfn.LaunchTemplateDataProperty(
                network_interfaces=[interface],
                block_device_mappings=[cfn.BlockDeviceMappingProperty(device_name=_ROOT_DEVICE, ebs=disk)],
                metadata_options=cfn.MetadataOptionsProperty(
                    http_tokens="required",  # IMDSv2 only
                    http_put_response_hop_limit=1,  # a container cannot take the host's credentials
                    http_endpoint="enabled",
                ),
                tag_specifications=[
                    cfn.TagSpecificationProperty(resource_type=each, tags=all_tags) for each in ("instance", "volume")
                ],
                user_data=Fn.base64(user_data()),
            ),
        )
        Tags.of(template).add("Name", f"{self.node.path}/LaunchTemplate")
        return template
