import auditlogs.v1.Actor;
import auditlogs.v1.AuditLogsGrpc;
import auditlogs.v1.AuditLogsGrpc.AuditLogsBlockingStub;
import auditlogs.v1.Context;
import auditlogs.v1.CreateActionSchemaRequest;
import auditlogs.v1.CreateEventRequest;
import auditlogs.v1.CreateEventResponse;
import auditlogs.v1.CreateExportRequest;
import auditlogs.v1.Event;
import auditlogs.v1.EventRecord;
import auditlogs.v1.Export;
import auditlogs.v1.ExportState;
import auditlogs.v1.GetExportRequest;
import auditlogs.v1.GetExportResponse;
import auditlogs.v1.SchemaTarget;
import auditlogs.v1.Target;
import auditlogs.v1.WatchEventsRequest;
import auditlogs.v1.WatchEventsResponse;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.ListValue;
import com.google.protobuf.RuntimeVersion;
import com.google.protobuf.Struct;
import com.google.protobuf.Timestamp;
import com.google.protobuf.Value;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Records an event, watches the log until it comes by, and exports it: the service from Java.
 *
 * <p>AUDIT_LOGS_SERVER is the address (http://127.0.0.1:50051), AUDIT_LOGS_API_KEY the key, and
 * AUDIT_LOGS_ORGANIZATION the log (org_acme). The argument is the file of the export (export.csv).
 */
public final class Client {
  private static final String ACTION = "document.signed";
  private static final int CALL_SECONDS = 15;
  // A log may be silent for long, and this program waits for an event that is there already.
  private static final int WATCH_SECONDS = 60;
  private static final int WATCH_ATTEMPTS = 5;
  private static final List<Status.Code> WORTH_A_RETRY =
      List.of(Status.Code.UNAVAILABLE, Status.Code.RESOURCE_EXHAUSTED);

  // What may be repeated, and how: https://grpc.io/docs/guides/retry/. CreateEvent is safe to repeat
  // because every event here has an idempotency key. CreateExport is not named: each call makes one.
  // The same JSON as everywhere; gRPC for Java wants it parsed, with every number a Double.
  private static final Map<String, ?> SERVICE_CONFIG =
      Map.of("methodConfig", List.of(Map.of(
          "name", Stream.of("CreateActionSchema", "CreateEvent", "GetExport", "WatchEvents")
              .map(method -> Map.of("service", AuditLogsGrpc.SERVICE_NAME, "method", method))
              .toList(),
          "retryPolicy", Map.of(
              "maxAttempts", 5.0,
              "initialBackoff", "0.1s",
              "maxBackoff", "2s",
              "backoffMultiplier", 2.0,
              "retryableStatusCodes", WORTH_A_RETRY.stream().map(Enum::name).toList()))));

  private final AuditLogsBlockingStub stub;
  private final String organizationId;

  private Client(ManagedChannel channel, String key, String organizationId) {
    Metadata metadata = new Metadata();
    metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + key);
    this.stub = AuditLogsGrpc.newBlockingStub(channel)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
    this.organizationId = organizationId;
  }

  public static void main(String[] arguments) throws InterruptedException {
    try {
      run(Path.of(arguments.length > 0 ? arguments[0] : "export.csv"));
    } catch (StatusRuntimeException | IOException | IllegalStateException error) {
      System.err.println("error: " + error.getMessage());
      System.exit(1);
    }
  }

  private static void run(Path file) throws IOException, InterruptedException {
    System.out.printf("client: Java %s, grpc-java %s, protobuf-java %d.%d.%d%n",
        System.getProperty("java.version"), grpcVersion(),
        RuntimeVersion.MAJOR, RuntimeVersion.MINOR, RuntimeVersion.PATCH);
    Map<String, String> environment = System.getenv();
    String key = environment.get("AUDIT_LOGS_API_KEY");
    if (key == null) {
      throw new IllegalStateException("AUDIT_LOGS_API_KEY is not set");
    }
    ManagedChannel channel =
        connect(environment.getOrDefault("AUDIT_LOGS_SERVER", "http://127.0.0.1:50051"));
    try {
      Client client = new Client(
          channel, key, environment.getOrDefault("AUDIT_LOGS_ORGANIZATION", "org_acme"));
      client.ensureSchema();
      CreateEventResponse created = client.emit();
      client.emitInvalid();
      client.watchFor(created);
      client.export(created, file);
    } finally {
      channel.shutdownNow().awaitTermination(CALL_SECONDS, TimeUnit.SECONDS);
    }
  }

  private static ManagedChannel connect(String address) {
    URI server = URI.create(address);
    if (server.getAuthority() == null) {
      throw new IllegalStateException(
          "AUDIT_LOGS_SERVER is not an address like http://127.0.0.1:50051: " + address);
    }
    boolean secure = "https".equals(server.getScheme());
    return Grpc.newChannelBuilder(server.getAuthority(),
            secure ? TlsChannelCredentials.create() : InsecureChannelCredentials.create())
        .defaultServiceConfig(SERVICE_CONFIG)
        .enableRetry()
        .build();
  }

  private AuditLogsBlockingStub within(int seconds) {
    return stub.withDeadlineAfter(Duration.ofSeconds(seconds));
  }

  /** Makes sure that the action has the schema. Sending one that is there makes no version. */
  private void ensureSchema() {
    Value pages = struct(Map.of("type", text("integer"), "minimum", number(1)));
    Value required = Value.newBuilder()
        .setListValue(ListValue.newBuilder().addValues(text("pages"))).build();
    Value schema = struct(Map.of(
        "type", text("object"), "required", required, "properties", struct(Map.of("pages", pages))));
    var answer = within(CALL_SECONDS).createActionSchema(CreateActionSchemaRequest.newBuilder()
        .setActionName(ACTION)
        .addTargets(SchemaTarget.newBuilder()
            .setType("document").setMetadata(schema.getStructValue()))
        .build());
    System.out.printf("schema: %s version %d, new: %b%n",
        ACTION, answer.getSchema().getVersion(), answer.getCreated());
  }

  private CreateEventRequest newEvent(Value pages) {
    return CreateEventRequest.newBuilder()
        .setOrganizationId(organizationId)
        .setIdempotencyKey(UUID.randomUUID().toString())
        .setEvent(Event.newBuilder()
            .setAction(ACTION)
            .setOccurredAt(timestamp(Instant.now()))
            .setActor(Actor.newBuilder().setId("user_1").setType("user").setName("Ada"))
            .addTargets(Target.newBuilder().setId("doc_1").setType("document")
                .setMetadata(Struct.newBuilder().putFields("pages", pages)))
            .setContext(Context.newBuilder()
                .setLocation("203.0.113.9").setUserAgent("example/java")))
        .build();
  }

  /** Records an event. The answer means that it is durable and has its place in the log. */
  private CreateEventResponse emit() {
    CreateEventResponse created = within(CALL_SECONDS).createEvent(newEvent(number(12)));
    // A duplicate: an attempt whose answer was lost had stored it, and the retry stored nothing more.
    System.out.printf("event: %s is at sequence %d, duplicate: %b%n",
        created.getEventId(), created.getSequence(), created.getDuplicate());
    return created;
  }

  /** Sends an event that does not fit its schema, and reads what the service says about it. */
  private void emitInvalid() throws InvalidProtocolBufferException {
    try {
      within(CALL_SECONDS).createEvent(newEvent(text("twelve")));
    } catch (StatusRuntimeException refusal) {
      if (refusal.getStatus().getCode() != Status.Code.INVALID_ARGUMENT) {
        throw refusal;
      }
      printDetails(refusal);
      return;
    }
    throw new IllegalStateException("an event that does not fit its schema was not refused");
  }

  /**
   * Watches the log from a little before the event until it comes by. A stream that ends is resumed
   * where its last frame said: nothing is missed and nothing comes twice.
   */
  private void watchFor(CreateEventResponse created) {
    long next = Math.max(created.getSequence() - 10, 0);
    for (int attempt = 1; attempt <= WATCH_ATTEMPTS; attempt++) {
      // Closing the context cancels the stream, which has no end of its own.
      try (var scope = io.grpc.Context.current().withCancellation()) {
        io.grpc.Context before = scope.attach();
        String ending = "OK";
        try {
          Iterator<WatchEventsResponse> frames = within(WATCH_SECONDS).watchEvents(
              WatchEventsRequest.newBuilder()
                  .setOrganizationId(organizationId).setFromSequence(next).build());
          while (frames.hasNext()) {
            WatchEventsResponse frame = frames.next();
            next = frame.getNextSequence();
            if (saw(frame, created.getEventId())) {
              return;
            }
          }
        } catch (StatusRuntimeException error) {
          if (!WORTH_A_RETRY.contains(error.getStatus().getCode())) {
            throw error;
          }
          ending = error.getStatus().getCode().name();
        } finally {
          scope.detach(before);
        }
        System.out.printf("watch: ended with %s, resuming at sequence %d%n", ending, next);
      }
    }
    throw new IllegalStateException("the event never came by");
  }

  /** Writes the last hour to a CSV file, follows it until it is ready, and downloads it. */
  private void export(CreateEventResponse created, Path file)
      throws IOException, InterruptedException {
    Instant now = Instant.now();
    var answer = within(CALL_SECONDS).createExport(CreateExportRequest.newBuilder()
        .setOrganizationId(organizationId)
        .setRangeStart(timestamp(now.minus(Duration.ofHours(1))))
        .setRangeEnd(timestamp(now))
        .build());
    download(follow(answer.getExport().getId()).getUrl(), file);
    // An id needs no quotes in CSV, so the beginning of a line tells.
    List<String> lines = Files.readAllLines(file);
    if (lines.stream().noneMatch(line -> line.startsWith(created.getEventId() + ","))) {
      throw new IllegalStateException(file + " does not have the event " + created.getEventId());
    }
    System.out.printf("export: %s has the event among %d%n", file, lines.size() - 1);
  }

  private Export follow(String exportId) {
    Iterator<GetExportResponse> frames = within(WATCH_SECONDS)
        .getExport(GetExportRequest.newBuilder().setExportId(exportId).build());
    while (frames.hasNext()) {
      Export export = frames.next().getExport();
      System.out.printf("export: %s, %d rows%n", export.getState(), export.getRowsWritten());
      if (export.getState() == ExportState.EXPORT_STATE_READY) {
        return export;
      }
      if (export.getState() != ExportState.EXPORT_STATE_PENDING) {
        throw new IllegalStateException(export.getState() + ": " + export.getError());
      }
    }
    throw new IllegalStateException("the export was not followed to its end");
  }

  /** Prints a frame, and tells whether the event is in it. */
  private static boolean saw(WatchEventsResponse frame, String eventId) {
    if (frame.hasHeartbeat()) {
      System.out.printf("watch: heartbeat, the log has %d events%n",
          frame.getHeartbeat().getTreeSize());
    }
    for (EventRecord record : frame.getEvents().getEventsList()) {
      System.out.printf("watch: sequence %d is %s by %s%n", record.getSequence(),
          record.getEvent().getAction(), record.getEvent().getActor().getId());
      if (record.getId().equals(eventId)) {
        return true;
      }
    }
    return false;
  }

  /** Prints the {@code google.rpc} details, which come beside the code. */
  private static void printDetails(StatusRuntimeException refusal)
      throws InvalidProtocolBufferException {
    for (Any detail : StatusProto.fromThrowable(refusal).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        ErrorInfo info = detail.unpack(ErrorInfo.class);
        System.out.printf("refused: %s of %s%n", info.getReason(), info.getDomain());
      } else if (detail.is(BadRequest.class)) {
        for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
          System.out.printf("refused: %s: %s: %s%n",
              violation.getField(), violation.getReason(), violation.getDescription());
        }
      }
    }
  }

  /** Fetches the signed link, which needs no key. */
  private static void download(String url, Path file) throws IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url))
        .timeout(Duration.ofSeconds(CALL_SECONDS)).build();
    var response = HttpClient.newHttpClient().send(request, BodyHandlers.ofFile(file));
    if (response.statusCode() != 200) {
      throw new IllegalStateException("the download answered " + response.statusCode());
    }
  }

  private static Value struct(Map<String, Value> fields) {
    return Value.newBuilder().setStructValue(Struct.newBuilder().putAllFields(fields)).build();
  }

  private static Value text(String text) {
    return Value.newBuilder().setStringValue(text).build();
  }

  private static Value number(double number) {
    return Value.newBuilder().setNumberValue(number).build();
  }

  private static Timestamp timestamp(Instant instant) {
    return Timestamp.newBuilder()
        .setSeconds(instant.getEpochSecond()).setNanos(instant.getNano()).build();
  }

  private static String grpcVersion() {
    String version = ManagedChannel.class.getPackage().getImplementationVersion();
    return version == null ? "of unknown version" : version;
  }
}
