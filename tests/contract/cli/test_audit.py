"""`spotbatch audit`: a template's file and a live queue; exit code 1 where something is found."""

import json
from pathlib import Path

from tests.contract.cli_world import cli_world, run, template


def test_a_template_and_the_queue_that_was_made_of_it_have_the_same_findings(tmp_path: Path) -> None:
    body = template(BidPercentage=30)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(body, indent=1))
    said = run("audit", str(file), environ={})
    assert said.code == 1, said.err
    assert "Environment.ComputeResources.BidPercentage  low-bid:" in said.out
    assert "source  https://docs.aws.amazon.com/batch/latest/APIReference/API_ComputeResource.html" in said.out
    written = json.loads(run("audit", str(file), "--json", environ={}).out)["findings"]
    sarif = json.loads(run("audit", str(file), "--sarif", environ={}).out)
    assert len(sarif["runs"][0]["results"]) == len(written)
    with cli_world(tmp_path, BidPercentage=30) as world:
        queue = world.run("list", "--json").json
        assert queue == []
        [name] = [each["jobQueueName"] for each in world.region.client("batch").describe_job_queues()["jobQueues"]]
        live = json.loads(world.run("audit", "--queue", name, "--definition", "work", "--json", code=1).out)
    rules = {each["rule"] for each in live["findings"]}
    only_of_templates = {"logs-kept-for-ever", "no-update-policy"}
    assert rules - only_of_templates == {each["rule"] for each in written} - only_of_templates
    assert any("audit the template" in line for line in live["could_not_see"])


def test_what_is_asked_for_wrongly_is_said_in_one_line(tmp_path: Path) -> None:
    assert "give either a template's file or --queue NAME" in run("audit", environ={}).err
    missing = run("audit", str(tmp_path / "none.yaml"), environ={})
    assert (missing.code, "no template" in missing.err) == (3, True)
    (tmp_path / "a.yaml").write_text("Resources: {B: {Type: 'AWS::S3::Bucket'}}\n")
    refused = run("audit", str(tmp_path / "a.yaml"), environ={})
    assert (refused.code, "no resource of AWS Batch" in refused.err) == (2, True)
