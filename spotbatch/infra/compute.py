"""The compute environments: many instance types in all zones, from zero to the maximum and back."""

from typing import Any, Final

from aws_cdk import Fn, Tags
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from spotbatch.batch.placement import AllocationStrategy
from spotbatch.infra import families
from spotbatch.infra.host_data import user_data
from spotbatch.infra.settings import Egress, StackSettings

_ROOT_DEVICE: Final = "/dev/xvda"  # on Amazon Linux 2023
_UPDATE_MINUTES: Final = 30  # how long running jobs may continue during an update of the environment


class Compute(Construct):
    """`environment`, `environment_arn` and `environment_name` (Spot), and `on_demand_arn` if the settings ask for one.

    The L1 construct, since the L2 lacks what safe updates need: the launch template's version (without
    it edits never reach instances) and the update policy. It has no fixed name: that would block its replacement.
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
        self._roles = [role for role in (instance_role, service_role) if role]
        self._service_role = service_role
        self._way_out = subnets.internet_connectivity_established
        shared = self._shared(settings, subnets, instance_profile)
        self.environment = self._environment(
            "Environment",
            shared,
            type="SPOT",
            allocation_strategy=settings.allocation_strategy.value,
            bid_percentage=settings.bid_percentage,
            minv_cpus=settings.min_vcpus,
            maxv_cpus=settings.max_vcpus,
        )
        self.environment_arn = self.environment.attr_compute_environment_arn
        self.environment_name = Fn.select(1, Fn.split("/", self.environment_arn))
        self.on_demand_arn: str | None = None
        if settings.on_demand_fallback or settings.on_demand_queue:
            on_demand = self._environment(
                "OnDemand",
                shared,
                type="EC2",
                allocation_strategy=AllocationStrategy.BEST_FIT_PROGRESSIVE.value,
                minv_cpus=0,
                maxv_cpus=settings.on_demand_max_vcpus,
            )
            self.on_demand_arn = on_demand.attr_compute_environment_arn

    def _shared(
        self, settings: StackSettings, subnets: ec2.SelectedSubnets, instance_profile: iam.InstanceProfile
    ) -> dict[str, Any]:
        """What Spot and on-demand hosts have in common."""
        cfn = batch.CfnComputeEnvironment
        template = cfn.LaunchTemplateSpecificationProperty(
            launch_template_id=self.launch_template.ref, version=self.launch_template.attr_latest_version_number
        )
        return {
            "instance_types": list(settings.instance_types),  # never "optimal"
            "instance_role": instance_profile.instance_profile_arn,
            "subnets": subnets.subnet_ids,
            "launch_template": template,
            "ec2_configuration": [
                cfn.Ec2ConfigurationObjectProperty(image_type=each) for each in _image_types(settings.instance_types)
            ],
            "update_to_latest_image_version": True,
        }

    def _environment(self, construct_id: str, shared: dict[str, Any], **own: Any) -> batch.CfnComputeEnvironment:
        cfn = batch.CfnComputeEnvironment
        policy = cfn.UpdatePolicyProperty(terminate_jobs_on_update=False, job_execution_timeout_minutes=_UPDATE_MINUTES)
        role = self._service_role
        environment = cfn(
            self,
            # A separate resource: AWS Batch refuses to switch between its own role and one of ours.
            f"{construct_id}OfOwnRole" if role else construct_id,
            type="MANAGED",
            state="ENABLED",
            service_role=role.role_arn if role else None,
            # An environment with its own role cannot be updated in place, so it is replaced.
            replace_compute_environment=role is not None,
            compute_resources=cfn.ComputeResourcesProperty(**shared, **own),
            update_policy=None if role else policy,
        )
        # Delete roles after the environment: without them AWS Batch cannot end its instances, and the deletion hangs.
        for each in self._roles:
            environment.node.add_dependency(each)
        # The same applies to the internet route: EC2 detaches no internet gateway while hosts hold public addresses
        # (CloudFormation user guide, "DependsOn attribute").
        environment.node.add_dependency(self._way_out)
        return environment

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
                    http_put_response_hop_limit=1,  # for containers in the host's network see host_data.py
                    http_endpoint="enabled",
                ),
                tag_specifications=[
                    cfn.TagSpecificationProperty(resource_type=each, tags=all_tags) for each in ("instance", "volume")
                ],
                user_data=Fn.base64(user_data(settings.metadata_fence)),
            ),
        )
        Tags.of(template).add("Name", f"{self.node.path}/LaunchTemplate")
        return template


def _image_types(types: tuple[str, ...]) -> list[str]:
    """The ECS images that these hosts need: the one with NVIDIA's driver, the plain one, or both."""
    has_gpu = {families.has_nvidia_gpu(each) for each in types}
    return [name for name, wanted in (("ECS_AL2023", False), ("ECS_AL2023_NVIDIA", True)) if wanted in has_gpu]
