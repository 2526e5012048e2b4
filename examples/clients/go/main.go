// Records an event, watches the log until it comes by, and exports it: the service from Go.
//
// AUDIT_LOGS_SERVER is the address (http://127.0.0.1:50051), AUDIT_LOGS_API_KEY the key, and
// AUDIT_LOGS_ORGANIZATION the log (org_acme). The argument is the file of the export (export.csv).
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "auditlogs-example/gen/auditlogs/v1"
)

const (
	action       = "document.signed"
	callDeadline = 15 * time.Second
	// A log may be silent for long, and this program waits for an event that is there already.
	watchDeadline = 60 * time.Second
	watchAttempts = 5
)

// What may be repeated, and how: https://grpc.io/docs/guides/retry/. CreateEvent is safe to repeat
// because every event here has an idempotency key. CreateExport is not named: each call makes one.
const serviceConfig = `{
  "methodConfig": [{
    "name": [
      {"service": "auditlogs.v1.AuditLogs", "method": "CreateActionSchema"},
      {"service": "auditlogs.v1.AuditLogs", "method": "CreateEvent"},
      {"service": "auditlogs.v1.AuditLogs", "method": "GetExport"},
      {"service": "auditlogs.v1.AuditLogs", "method": "WatchEvents"}
    ],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
    }
  }]
}`

type client struct {
	pb.AuditLogsClient
	organization string
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	fmt.Println("client:", versions())
	key := os.Getenv("AUDIT_LOGS_API_KEY")
	if key == "" {
		return errors.New("AUDIT_LOGS_API_KEY is not set")
	}
	connection, err := connect(cmp.Or(os.Getenv("AUDIT_LOGS_SERVER"), "http://127.0.0.1:50051"))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	c := client{
		AuditLogsClient: pb.NewAuditLogsClient(connection),
		organization:    cmp.Or(os.Getenv("AUDIT_LOGS_ORGANIZATION"), "org_acme"),
	}

	if err := c.ensureSchema(ctx); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	created, err := c.emit(ctx)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if err := c.emitInvalid(ctx); err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	if err := c.watchFor(ctx, created); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	file := "export.csv"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	if err := c.export(ctx, created, file); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func connect(address string) (*grpc.ClientConn, error) {
	server, err := url.Parse(address)
	if err != nil || server.Host == "" {
		return nil, fmt.Errorf("AUDIT_LOGS_SERVER is not an address like http://127.0.0.1:50051: %s", address)
	}
	transport := insecure.NewCredentials()
	if server.Scheme == "https" {
		transport = credentials.NewTLS(&tls.Config{})
	}
	return grpc.NewClient(server.Host,
		grpc.WithTransportCredentials(transport), grpc.WithDefaultServiceConfig(serviceConfig))
}

// ensureSchema makes sure that the action has the schema. Sending one that is there makes no version.
func (c client) ensureSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	schema, err := structpb.NewStruct(map[string]any{
		"type":       "object",
		"required":   []any{"pages"},
		"properties": map[string]any{"pages": map[string]any{"type": "integer", "minimum": 1}},
	})
	if err != nil {
		return err
	}
	answer, err := c.CreateActionSchema(ctx, &pb.CreateActionSchemaRequest{
		ActionName: action,
		Targets:    []*pb.SchemaTarget{{Type: "document", Metadata: schema}},
	})
	if err != nil {
		return err
	}
	fmt.Printf("schema: %s version %d, new: %t\n", action, answer.Schema.Version, answer.Created)
	return nil
}

func (c client) newEvent(pages any) (*pb.CreateEventRequest, error) {
	document, err := structpb.NewStruct(map[string]any{"pages": pages})
	if err != nil {
		return nil, err
	}
	return &pb.CreateEventRequest{
		OrganizationId: c.organization,
		IdempotencyKey: uuid.NewString(),
		Event: &pb.Event{
			Action:     action,
			OccurredAt: timestamppb.Now(),
			Actor:      &pb.Actor{Id: "user_1", Type: "user", Name: "Ada"},
			Targets:    []*pb.Target{{Id: "doc_1", Type: "document", Metadata: document}},
			Context:    &pb.Context{Location: "203.0.113.9", UserAgent: "example/go"},
		},
	}, nil
}

// emit records an event. The answer means that it is durable and has its place in the log.
func (c client) emit(ctx context.Context) (*pb.CreateEventResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	request, err := c.newEvent(12)
	if err != nil {
		return nil, err
	}
	created, err := c.CreateEvent(ctx, request)
	if err != nil {
		return nil, err
	}
	// A duplicate: an attempt whose answer was lost had stored it, and the retry stored nothing more.
	fmt.Printf("event: %s is at sequence %d, duplicate: %t\n", created.EventId, created.Sequence, created.Duplicate)
	return created, nil
}

// emitInvalid sends an event that does not fit its schema, and reads what the service says about it.
func (c client) emitInvalid(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	request, err := c.newEvent("twelve")
	if err != nil {
		return err
	}
	_, err = c.CreateEvent(ctx, request)
	refusal := status.Convert(err)
	if refusal.Code() != codes.InvalidArgument {
		return fmt.Errorf("an event that does not fit its schema was not refused: %v", err)
	}
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Printf("refused: %s of %s\n", detail.Reason, detail.Domain)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Printf("refused: %s: %s: %s\n", violation.Field, violation.Reason, violation.Description)
			}
		}
	}
	return nil
}

// watchFor watches the log from a little before the event until it comes by. A stream that ends is
// resumed where its last frame said: nothing is missed and nothing comes twice.
func (c client) watchFor(ctx context.Context, created *pb.CreateEventResponse) error {
	ctx, cancel := context.WithTimeout(ctx, watchDeadline)
	defer cancel()
	next := created.Sequence - min(created.Sequence, 10)
	for attempt := 1; ; attempt++ {
		seen, resume, err := c.watchOnce(ctx, next, created.EventId)
		if seen || err == nil {
			return err
		}
		code := status.Code(err)
		if attempt == watchAttempts || code != codes.Unavailable && code != codes.ResourceExhausted {
			return err
		}
		fmt.Printf("watch: ended with %s, resuming at sequence %d\n", code, resume)
		next = resume
	}
}

// watchOnce tells whether the event came by, and where to resume.
func (c client) watchOnce(ctx context.Context, next uint64, eventID string) (bool, uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.WatchEvents(ctx, &pb.WatchEventsRequest{
		OrganizationId: c.organization,
		Start:          &pb.WatchEventsRequest_FromSequence{FromSequence: next},
	})
	if err != nil {
		return false, next, err
	}
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "the stream ended")
		}
		if err != nil {
			return false, next, err
		}
		next = frame.NextSequence
		if heartbeat := frame.GetHeartbeat(); heartbeat != nil {
			fmt.Printf("watch: heartbeat, the log has %d events\n", heartbeat.TreeSize)
		}
		for _, record := range frame.GetEvents().GetEvents() {
			fmt.Printf("watch: sequence %d is %s by %s\n", record.Sequence, record.Event.Action, record.Event.Actor.Id)
			if record.Id == eventID {
				return true, next, nil
			}
		}
	}
}

// export writes the last hour to a CSV file, follows it until it is ready, and downloads it.
func (c client) export(ctx context.Context, created *pb.CreateEventResponse, file string) error {
	ctx, cancel := context.WithTimeout(ctx, watchDeadline)
	defer cancel()
	now := time.Now()
	answer, err := c.CreateExport(ctx, &pb.CreateExportRequest{
		OrganizationId: c.organization,
		RangeStart:     timestamppb.New(now.Add(-time.Hour)),
		RangeEnd:       timestamppb.New(now),
	})
	if err != nil {
		return err
	}
	export, err := c.follow(ctx, answer.Export.Id)
	if err != nil {
		return err
	}
	if err := download(ctx, export.Url, file); err != nil {
		return err
	}
	rows, err := readCSV(file)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == created.EventId }) {
		return fmt.Errorf("%s does not have the event %s", file, created.EventId)
	}
	fmt.Printf("export: %s has the event among %d\n", file, len(rows)-1)
	return nil
}

func (c client) follow(ctx context.Context, id string) (*pb.Export, error) {
	stream, err := c.GetExport(ctx, &pb.GetExportRequest{ExportId: id})
	if err != nil {
		return nil, err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		fmt.Printf("export: %s, %d rows\n", frame.Export.State, frame.Export.RowsWritten)
		switch frame.Export.State {
		case pb.ExportState_EXPORT_STATE_READY:
			return frame.Export, nil
		case pb.ExportState_EXPORT_STATE_PENDING:
		default:
			return nil, fmt.Errorf("%s: %s", frame.Export.State, frame.Export.Error)
		}
	}
}

// download fetches the signed link, which needs no key.
func download(ctx context.Context, link, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the download answered %s", response.Status)
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, response.Body)
	return errors.Join(err, to.Close())
}

func readCSV(file string) ([][]string, error) {
	from, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return csv.NewReader(from).ReadAll()
}

func versions() string {
	text := strings.Replace(runtime.Version(), "go", "Go ", 1) + ", grpc-go " + grpc.Version
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "google.golang.org/protobuf" {
				text += ", protobuf-go " + strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return text
}
