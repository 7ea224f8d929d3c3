import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import software.amazon.awssdk.services.batch.BatchClient;
import software.amazon.awssdk.services.batch.model.ClientException;
import software.amazon.awssdk.services.batch.model.EvaluateOnExit;
import software.amazon.awssdk.services.batch.model.JobDefinitionType;
import software.amazon.awssdk.services.batch.model.JobDetail;
import software.amazon.awssdk.services.batch.model.JobStatus;
import software.amazon.awssdk.services.batch.model.ResourceRequirement;
import software.amazon.awssdk.services.batch.model.ResourceType;
import software.amazon.awssdk.services.batch.model.RetryAction;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;
import software.amazon.awssdk.services.cloudwatchlogs.model.ResourceNotFoundException;

/** The story of README.md with the AWS SDK for Java v2. Its endpoint and credentials come from the environment. */
public final class Story {
  private static final int SIZE = 3;
  private static final String GROUP = "/aws/batch/job";

  private Story() {}

  private static String register(BatchClient client) {
    return client
        .registerJobDefinition(
            definition ->
                definition
                    .jobDefinitionName("java")
                    .type(JobDefinitionType.CONTAINER)
                    .retryStrategy(
                        retry ->
                            retry
                                .attempts(5)
                                .evaluateOnExit(
                                    EvaluateOnExit.builder()
                                        .action(RetryAction.RETRY)
                                        .onStatusReason("Host EC2*")
                                        .build(),
                                    EvaluateOnExit.builder().action(RetryAction.EXIT).onReason("*").build()))
                    .containerProperties(
                        container ->
                            container
                                .image("busybox")
                                .command("sh", "-c", "sleep 2; echo child $AWS_BATCH_JOB_ARRAY_INDEX")
                                .resourceRequirements(
                                    need(ResourceType.VCPU, "1"), need(ResourceType.MEMORY, "128"))))
        .jobDefinitionArn();
  }

  private static ResourceRequirement need(ResourceType type, String value) {
    return ResourceRequirement.builder().type(type).value(value).build();
  }

  private static JobDetail ended(BatchClient client, String id) throws InterruptedException {
    for (int tries = 0; tries < 2000; tries++) {
      JobDetail found = client.describeJobs(asked -> asked.jobs(id)).jobs().get(0);
      if (found.status() == JobStatus.SUCCEEDED || found.status() == JobStatus.FAILED) {
        return found;
      }
      Thread.sleep(100);
    }
    throw new IllegalStateException(id + " has not ended");
  }

  /** The texts have no characters that JSON would escape. */
  private static String json(Object value) {
    if (value instanceof String) {
      return "\"" + value + "\"";
    }
    if (value instanceof List<?> list) {
      return list.stream().map(Story::json).collect(Collectors.joining(",", "[", "]"));
    }
    if (value instanceof Map<?, ?> map) {
      return map.entrySet().stream()
          .map(each -> json(each.getKey()) + ":" + json(each.getValue()))
          .collect(Collectors.joining(",", "{", "}"));
    }
    return String.valueOf(value);
  }

  public static void main(String[] arguments) throws InterruptedException {
    try (BatchClient client = BatchClient.create();
        CloudWatchLogsClient logs = CloudWatchLogsClient.create()) {
      String definition = register(client);
      String array =
          client
              .submitJob(
                  job ->
                      job.jobName("array")
                          .jobQueue("q")
                          .jobDefinition(definition)
                          .arrayProperties(properties -> properties.size(SIZE)))
              .jobId();
      JobDetail parent = ended(client, array);
      if (parent.status() != JobStatus.SUCCEEDED) {
        throw new IllegalStateException(parent.statusReason());
      }
      List<String> messages = new ArrayList<>();
      List<Integer> attempts = new ArrayList<>();
      for (int index = 0; index < SIZE; index++) {
        JobDetail child = ended(client, array + ":" + index);
        attempts.add(child.attempts().size());
        String stream = child.container().logStreamName();
        logs.getLogEvents(asked -> asked.logGroupName(GROUP).logStreamName(stream).startFromHead(true))
            .events()
            .forEach(event -> messages.add(event.message()));
      }

      List<String> listed = new ArrayList<>();
      int pages = 0;
      for (var page :
          client.listJobsPaginator(
              asked -> asked.arrayJobId(array).jobStatus(JobStatus.SUCCEEDED).maxResults(2))) {
        pages++;
        page.jobSummaryList().forEach(one -> listed.add(one.jobId()));
      }

      String endless =
          client
              .submitJob(
                  job ->
                      job.jobName("endless")
                          .jobQueue("q")
                          .jobDefinition(definition)
                          .containerOverrides(overrides -> overrides.command("sleep", "600")))
              .jobId();
      client.terminateJob(asked -> asked.jobId(endless).reason("enough"));
      String terminated = ended(client, endless).statusReason();

      List<String> errors = new ArrayList<>();
      try {
        client.submitJob(job -> job.jobName("nowhere").jobQueue("no-such-queue").jobDefinition(definition));
      } catch (ClientException refused) {
        errors.add("ClientException");
      }
      try {
        logs.getLogEvents(asked -> asked.logGroupName(GROUP).logStreamName("no/such/stream"));
      } catch (ResourceNotFoundException missing) {
        errors.add("ResourceNotFoundException");
      }
      System.out.println(
          json(
              Map.of(
                  "messages", messages,
                  "attempts", attempts,
                  "listed", listed,
                  "pages", pages,
                  "terminated", terminated,
                  "errors", errors)));
    }
  }
}
