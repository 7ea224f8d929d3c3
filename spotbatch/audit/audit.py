"""All rules and their combined findings."""

from collections.abc import Callable, Iterable
from typing import Final

from spotbatch.audit import around_rules, definition_rules, environment_rules
from spotbatch.audit.facts import Facts
from spotbatch.audit.finding import Finding, Level

Rule = Callable[[Facts], Iterable[Finding]]
RULES: Final[tuple[Rule, ...]] = (
    environment_rules.few_instance_types,
    environment_rules.one_zone,
    environment_rules.best_fit,
    environment_rules.bundle_of_types,
    environment_rules.low_bid,
    environment_rules.idle_hosts,
    environment_rules.no_draining,
    environment_rules.unpinned_launch_template,
    environment_rules.name_blocks_replacement,
    environment_rules.no_update_policy,
    definition_rules.lost_hosts_not_retried,
    definition_rules.bugs_retried,
    definition_rules.agent_errors_not_retried,
    definition_rules.no_timeout,
    definition_rules.memory_that_no_host_gives,
    around_rules.nat_hours,
    around_rules.s3_through_nat,
    around_rules.logs_kept_for_ever,
    around_rules.open_roles,
)


def audit(facts: Facts) -> list[Finding]:
    """All findings, errors first, then by resource."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda each: (each.level is not Level.ERROR, each.resource))
