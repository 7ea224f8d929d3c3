// The story of README.md with the AWS SDK for Go v2. Its endpoint and credentials come from the environment.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const size = 3

type story struct {
	Messages   []string `json:"messages"`
	Attempts   []int    `json:"attempts"`
	Listed     []string `json:"listed"`
	Pages      int      `json:"pages"`
	Terminated string   `json:"terminated"`
	Errors     []string `json:"errors"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func register(ctx context.Context, client *batch.Client) string {
	made := must(client.RegisterJobDefinition(ctx, &batch.RegisterJobDefinitionInput{
		JobDefinitionName: aws.String("go"),
		Type:              types.JobDefinitionTypeContainer,
		RetryStrategy: &types.RetryStrategy{Attempts: aws.Int32(5), EvaluateOnExit: []types.EvaluateOnExit{
			{Action: types.RetryActionRetry, OnStatusReason: aws.String("Host EC2*")},
			{Action: types.RetryActionExit, OnReason: aws.String("*")},
		}},
		ContainerProperties: &types.ContainerProperties{
			Image:   aws.String("busybox"),
			Command: []string{"sh", "-c", "sleep 2; echo child $AWS_BATCH_JOB_ARRAY_INDEX"},
			ResourceRequirements: []types.ResourceRequirement{
				{Type: types.ResourceTypeVcpu, Value: aws.String("1")},
				{Type: types.ResourceTypeMemory, Value: aws.String("128")},
			},
		},
	}))
	return *made.JobDefinitionArn
}

func ended(ctx context.Context, client *batch.Client, id string) types.JobDetail {
	for range 2000 {
		found := must(client.DescribeJobs(ctx, &batch.DescribeJobsInput{Jobs: []string{id}})).Jobs[0]
		if found.Status == types.JobStatusSucceeded || found.Status == types.JobStatusFailed {
			return found
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, id, "has not ended")
	os.Exit(1)
	panic("unreachable")
}

func main() {
	ctx := context.Background()
	settings := must(config.LoadDefaultConfig(ctx))
	client, logs := batch.NewFromConfig(settings), cloudwatchlogs.NewFromConfig(settings)
	seen := story{}

	definition := register(ctx, client)
	array := must(client.SubmitJob(ctx, &batch.SubmitJobInput{
		JobName: aws.String("array"), JobQueue: aws.String("q"), JobDefinition: &definition,
		ArrayProperties: &types.ArrayProperties{Size: aws.Int32(size)},
	}))
	if parent := ended(ctx, client, *array.JobId); parent.Status != types.JobStatusSucceeded {
		fmt.Fprintln(os.Stderr, *parent.StatusReason)
		os.Exit(1)
	}
	for index := range size {
		child := ended(ctx, client, fmt.Sprintf("%s:%d", *array.JobId, index))
		seen.Attempts = append(seen.Attempts, len(child.Attempts))
		events := must(logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
			LogGroupName: aws.String("/aws/batch/job"), LogStreamName: child.Container.LogStreamName,
			StartFromHead: aws.Bool(true),
		}))
		for _, event := range events.Events {
			seen.Messages = append(seen.Messages, *event.Message)
		}
	}

	pages := batch.NewListJobsPaginator(client, &batch.ListJobsInput{
		ArrayJobId: array.JobId, JobStatus: types.JobStatusSucceeded, MaxResults: aws.Int32(2),
	})
	for pages.HasMorePages() {
		seen.Pages++
		for _, one := range must(pages.NextPage(ctx)).JobSummaryList {
			seen.Listed = append(seen.Listed, *one.JobId)
		}
	}

	endless := must(client.SubmitJob(ctx, &batch.SubmitJobInput{
		JobName: aws.String("endless"), JobQueue: aws.String("q"), JobDefinition: &definition,
		ContainerOverrides: &types.ContainerOverrides{Command: []string{"sleep", "600"}},
	}))
	must(client.TerminateJob(ctx, &batch.TerminateJobInput{JobId: endless.JobId, Reason: aws.String("enough")}))
	seen.Terminated = *ended(ctx, client, *endless.JobId).StatusReason

	_, err := client.SubmitJob(ctx, &batch.SubmitJobInput{
		JobName: aws.String("nowhere"), JobQueue: aws.String("no-such-queue"), JobDefinition: &definition,
	})
	var refused *types.ClientException
	if errors.As(err, &refused) {
		seen.Errors = append(seen.Errors, "ClientException")
	}
	_, err = logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String("/aws/batch/job"), LogStreamName: aws.String("no/such/stream"),
	})
	var missing *logtypes.ResourceNotFoundException
	if errors.As(err, &missing) {
		seen.Errors = append(seen.Errors, "ResourceNotFoundException")
	}
	fmt.Println(string(must(json.Marshal(seen))))
}
