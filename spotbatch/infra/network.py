"""The network: a VPC over all the zones passed in, outbound access, no inbound access."""

from ipaddress import IPv4Network

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from spotbatch.infra.job_logs import retention
from spotbatch.infra.nat_instance import NatInstance
from spotbatch.infra.settings import Egress, StackSettings

_ALL_ZONES = 99  # the CDK takes as many as exist


class Network(Construct):
    """`vpc`, the `subnets` in which instances start, and their `security_group`."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: StackSettings) -> None:
        super().__init__(scope, construct_id)
        has_nat = settings.egress is not Egress.PUBLIC
        instance = NatInstance(settings) if settings.egress is Egress.NAT_INSTANCE else None
        private_prefix = IPv4Network(settings.vpc_cidr).prefixlen + 4  # a sixteenth of the range for each zone's hosts
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if has_nat else ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(settings.vpc_cidr),
            max_azs=_ALL_ZONES,
            nat_gateways=1 if has_nat else 0,  # the default would be one per zone, each of them billed
            nat_gateway_provider=instance.provider if instance else None,
            restrict_default_security_group=False,  # it would add a Lambda function; nothing uses that group
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24),
                ec2.SubnetConfiguration(name="Private", subnet_type=private, cidr_mask=private_prefix),
            ],
        )
        if instance:
            instance.secure(self.vpc)
        # Free, and keeps artifacts and image layers off the NAT gateway's bill.
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        chosen = private if has_nat else ec2.SubnetType.PUBLIC
        self.subnets = self.vpc.select_subnets(subnet_type=chosen)
        self.security_group = ec2.SecurityGroup(
            self,
            "Instances",
            vpc=self.vpc,
            description="Batch instances: no way in; out to AWS and registries only",
            allow_all_outbound=False,
        )
        for name in settings.interface_endpoints:
            self._interface_endpoint(name)
        if settings.flow_logs:
            self._flow_log(settings)
        for port in settings.egress_ports:
            self.security_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), f"out to port {port}")

    def _flow_log(self, settings: StackSettings) -> None:
        """A log group that is deleted with the stack, and a role that only this account's flow logs can assume."""
        group = logs.LogGroup(
            self,
            "Flows",
            retention=retention(settings.log_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        account = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        role = iam.Role(
            self,
            "FlowLogRole",
            assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com", conditions=account),
            description="VPC flow logs: write to their own group",
        )
        destination = ec2.FlowLogDestination.to_cloud_watch_logs(group, role)
        self.vpc.add_flow_log("FlowLog", destination=destination, traffic_type=ec2.FlowLogTrafficType.ALL)

    def _interface_endpoint(self, name: str) -> None:
        """A private route to one AWS service, open only to the hosts."""
        group = ec2.SecurityGroup(
            self,
            f"Endpoint-{name}-Group",
            vpc=self.vpc,
            description=f"Endpoint {name}: from the Batch instances only",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(self.security_group, ec2.Port.tcp(443), "the hosts")
        self.vpc.add_interface_endpoint(
            f"Endpoint-{name}",
            service=ec2.InterfaceVpcEndpointAwsService(name),
            subnets=ec2.SubnetSelection(subnets=self.subnets.subnets),
            security_groups=[group],
            open=False,
        )
