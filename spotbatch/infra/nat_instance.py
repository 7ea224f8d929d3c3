"""A small host that translates addresses instead of the NAT gateway: a fifth of its price, but unmanaged."""

from typing import Final

from aws_cdk import aws_ec2 as ec2

from spotbatch.infra.settings import StackSettings

_TYPE: Final = "t4g.nano"  # up to 5 Gbit/s in bursts; image layers and artifacts bypass it, through the S3 endpoint
_DISK_GIB: Final = 8


class NatInstance:
    """The provider for `ec2.Vpc`, and what must be added once the VPC exists.

    EC2 restarts it on other hardware if its own fails (simplified automatic recovery, EC2 user guide).
    """

    def __init__(self, settings: StackSettings) -> None:
        self._ports = settings.egress_ports
        self.provider = ec2.NatProvider.instance_v2(
            instance_type=ec2.InstanceType(_TYPE),
            machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
            default_allowed_traffic=ec2.NatTrafficDirection.OUTBOUND_ONLY,
        )

    def secure(self, vpc: ec2.Vpc) -> None:
        """Inbound from the VPC only, and only permitted outbound traffic; IMDSv2; an encrypted disk."""
        for port in self._ports:
            self.provider.security_group.add_ingress_rule(
                ec2.Peer.ipv4(vpc.vpc_cidr_block), ec2.Port.tcp(port), f"the hosts, to port {port}"
            )
        disk = {"VolumeType": "gp3", "VolumeSize": _DISK_GIB, "Encrypted": True, "DeleteOnTermination": True}
        for each in self.provider.gateway_instances:
            # It has a public address: the gateway cannot be detached until it is gone.
            for subnet in vpc.public_subnets:
                each.instance.node.add_dependency(subnet.internet_connectivity_established)
            # Not the CDK's aspect for this: that creates a launch template with a fixed name, and two stacks collide.
            each.instance.add_property_override("MetadataOptions", {"HttpTokens": "required"})
            each.instance.add_property_override("BlockDeviceMappings", [{"DeviceName": "/dev/xvda", "Ebs": disk}])
