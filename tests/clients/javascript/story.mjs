// The story of README.md with the AWS SDK for JavaScript v3. Its endpoint and credentials come from the environment.
import * as batch from "@aws-sdk/client-batch";
import * as logs from "@aws-sdk/client-cloudwatch-logs";

const SIZE = 3;
const client = new batch.BatchClient({});
const cloudwatch = new logs.CloudWatchLogsClient({});
const group = "/aws/batch/job";

async function ended(id) {
  for (let tries = 0; tries < 2000; tries++) {
    const [found] = (await client.send(new batch.DescribeJobsCommand({ jobs: [id] }))).jobs;
    if (["SUCCEEDED", "FAILED"].includes(found.status)) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${id} has not ended`);
}

const { jobDefinitionArn: jobDefinition } = await client.send(
  new batch.RegisterJobDefinitionCommand({
    jobDefinitionName: "javascript",
    type: "container",
    retryStrategy: {
      attempts: 5,
      evaluateOnExit: [
        { action: "RETRY", onStatusReason: "Host EC2*" },
        { action: "EXIT", onReason: "*" },
      ],
    },
    containerProperties: {
      image: "busybox",
      command: ["sh", "-c", "sleep 2; echo child $AWS_BATCH_JOB_ARRAY_INDEX"],
      resourceRequirements: [
        { type: "VCPU", value: "1" },
        { type: "MEMORY", value: "128" },
      ],
    },
  }),
);
const asked = { jobQueue: "q", jobDefinition };
const { jobId: arrayJobId } = await client.send(
  new batch.SubmitJobCommand({ ...asked, jobName: "array", arrayProperties: { size: SIZE } }),
);
const parent = await ended(arrayJobId);
if (parent.status !== "SUCCEEDED") throw new Error(parent.statusReason);

const seen = { messages: [], attempts: [], listed: [], pages: 0, terminated: "", errors: [] };
for (let index = 0; index < SIZE; index++) {
  const child = await ended(`${arrayJobId}:${index}`);
  seen.attempts.push(child.attempts.length);
  const { events } = await cloudwatch.send(
    new logs.GetLogEventsCommand({
      logGroupName: group,
      logStreamName: child.container.logStreamName,
      startFromHead: true,
    }),
  );
  seen.messages.push(...events.map((event) => event.message));
}

for await (const page of batch.paginateListJobs({ client, pageSize: 2 }, { arrayJobId, jobStatus: "SUCCEEDED" })) {
  seen.pages++;
  seen.listed.push(...page.jobSummaryList.map((one) => one.jobId));
}

const { jobId: endless } = await client.send(
  new batch.SubmitJobCommand({ ...asked, jobName: "endless", containerOverrides: { command: ["sleep", "600"] } }),
);
await client.send(new batch.TerminateJobCommand({ jobId: endless, reason: "enough" }));
seen.terminated = (await ended(endless)).statusReason;

try {
  await client.send(new batch.SubmitJobCommand({ ...asked, jobName: "nowhere", jobQueue: "no-such-queue" }));
} catch (error) {
  if (error instanceof batch.ClientException) seen.errors.push("ClientException");
}
try {
  await cloudwatch.send(new logs.GetLogEventsCommand({ logGroupName: group, logStreamName: "no/such/stream" }));
} catch (error) {
  if (error instanceof logs.ResourceNotFoundException) seen.errors.push("ResourceNotFoundException");
}
console.log(JSON.stringify(seen));
