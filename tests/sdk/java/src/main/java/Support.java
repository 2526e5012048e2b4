import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.workos.common.exceptions.WorkOSException;
import com.workos.common.json.ObjectMapperFactory;
import com.workos.models.AuditLogEvent;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.stream.StreamSupport;
import org.apache.commons.csv.CSVFormat;

/** What the story needs beside the SDK: its data, how a check is told, and the CSV. */
final class Support {
  static final ObjectMapper JSON = ObjectMapperFactory.create();
  static final JsonNode STORY = read();

  private static final List<String> COLUMNS =
      List.of(
          "id", "organization_id", "action", "version", "occurred_at", "received_at", "actor_id",
          "actor_type", "actor_name", "actor_metadata", "targets", "context_location",
          "context_user_agent", "metadata", "sequence");
  private static final String UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
  private static final Instant STARTED = Instant.now();
  private static boolean failed;

  private Support() {}

  static boolean anyFailed() {
    return failed;
  }

  static String text(String name) {
    return STORY.get(name).asText();
  }

  static Map<String, Object> map(JsonNode node) {
    return node == null ? null : JSON.convertValue(node, Map.class);
  }

  static List<String> strings(JsonNode node) {
    return node == null ? null : JSON.convertValue(node, List.class);
  }

  static AuditLogEvent event(JsonNode event) {
    return JSON.convertValue(event, AuditLogEvent.class);
  }

  static AuditLogEvent event(int index) {
    return event(STORY.get("events").get(index));
  }

  /** Tells whether {@code actual} is what was expected, as a line of TAP. */
  static void check(String name, Object actual, Object expected) {
    if (Objects.equals(actual, expected)) {
      System.out.println("ok - " + name);
    } else {
      failed = true;
      System.out.printf("not ok - %s: got %s, expected %s%n", name, actual, expected);
    }
  }

  /** The exception of exactly this kind that the call must throw, or null. */
  static WorkOSException refused(
      String name, Class<? extends WorkOSException> kind, Callable<?> call) {
    try {
      check(name, call.call(), kind.getSimpleName());
    } catch (Exception thrown) {
      check(name, thrown.getClass() == kind ? kind : thrown, kind);
      if (thrown instanceof WorkOSException error) {
        boolean identified = error.requestId != null && error.requestId.matches(UUID);
        check(name + ": request id", identified, true);
        return error;
      }
    }
    return null;
  }

  /** Tells a chapter; one that breaks off is a failed check, not the end. */
  static void chapter(String name, Callable<?> told) {
    try {
      told.call();
    } catch (Exception thrown) {
      List<StackTraceElement> trace = List.of(thrown.getStackTrace());
      check(name + " ends well", thrown + " " + trace.subList(0, Math.min(6, trace.size())), "");
    }
  }

  /** The refusals of the story that the SDK can express. */
  static List<JsonNode> refusals() {
    return StreamSupport.stream(STORY.get("refusals").spliterator(), false)
        .filter(refusal -> !refusal.has("needs"))
        .toList();
  }

  /** The event of a refusal. */
  static AuditLogEvent refusedEvent(JsonNode refusal) {
    ObjectNode event = STORY.get("events").get(0).deepCopy();
    event.setAll((ObjectNode) refusal.get("change"));
    return event(event);
  }

  /** Whether an entry of {@code errors} points at what is wrong with the refused event. */
  static boolean namesWhatIsWrong(JsonNode refusal, String body) throws IOException {
    for (JsonNode entry : JSON.readTree(body).get("errors")) {
      boolean fits;
      if (refusal.has("instance_path")) {
        fits = refusal.get("instance_path").equals(entry.get("instancePath"));
      } else {
        fits =
            entry.get("field").asText().startsWith(refusal.get("field").asText())
                && (!refusal.has("code") || refusal.get("code").equals(entry.get("code")));
      }
      if (fits) {
        return true;
      }
    }
    return false;
  }

  /** The rows of a CSV that is fetched by its link alone. */
  static List<Map<String, String>> download(String url) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
    HttpResponse<String> response =
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    check("a download", response.statusCode(), 200);
    CSVFormat format = CSVFormat.RFC4180.builder().setHeader().setSkipHeaderRecord(true).get();
    List<Map<String, String>> rows = new ArrayList<>();
    try (var parser = format.parse(new StringReader(response.body()))) {
      check("the columns", parser.getHeaderNames(), COLUMNS);
      parser.forEach(row -> rows.add(row.toMap()));
    }
    return rows;
  }

  /** Compares every cell with what was sent. */
  static void checkRows(
      String name, List<Map<String, String>> rows, String organization, JsonNode indices)
      throws IOException {
    check(name + ": rows", rows.size(), indices.size());
    for (int i = 0; i < Math.min(rows.size(), indices.size()); i++) {
      JsonNode event = STORY.get("events").get(indices.get(i).asInt());
      Object expected = expected(event, organization);
      check(name + ": event " + indices.get(i), toldApart(rows.get(i)), expected);
    }
  }

  private static Map<String, Object> expected(JsonNode event, String organization) {
    JsonNode actor = event.get("actor");
    JsonNode context = event.get("context");
    Map<String, Object> cells = new LinkedHashMap<>();
    cells.put("id", true);
    cells.put("organization_id", organization);
    cells.put("action", event.get("action").asText());
    cells.put("version", event.path("version").asText("1"));
    cells.put("occurred_at", Instant.parse(event.get("occurred_at").asText()));
    cells.put("received_at", true);
    cells.put("actor_id", actor.get("id").asText());
    cells.put("actor_type", actor.get("type").asText());
    cells.put("actor_name", guarded(actor.path("name").asText("")));
    cells.put("actor_metadata", actor.get("metadata"));
    cells.put("targets", event.get("targets"));
    cells.put("context_location", guarded(context.get("location").asText()));
    cells.put("context_user_agent", context.path("user_agent").asText(""));
    cells.put("metadata", event.get("metadata"));
    cells.put("sequence", true);
    return cells;
  }

  /** The cells with JSON parsed, and what only the server knows held against its form. */
  private static Map<String, Object> toldApart(Map<String, String> row) throws IOException {
    Map<String, Object> cells = new LinkedHashMap<>(row);
    cells.put("id", row.get("id").matches("audit_event_[0-9A-HJKMNP-TV-Z]{26}"));
    cells.put("occurred_at", Instant.parse(row.get("occurred_at")));
    Instant received = Instant.parse(row.get("received_at"));
    boolean recent =
        received.isAfter(STARTED.minusSeconds(5)) && received.isBefore(Instant.now().plusSeconds(5));
    cells.put("received_at", recent);
    for (String name : List.of("actor_metadata", "targets", "metadata")) {
      cells.put(name, row.get(name).isEmpty() ? null : JSON.readTree(row.get(name)));
    }
    cells.put("sequence", row.get("sequence").matches("[0-9]+"));
    return cells;
  }

  /** The server puts {@code '} before what a spreadsheet would take for a formula. */
  private static String guarded(String text) {
    return !text.isEmpty() && "=+-@\t\r".indexOf(text.charAt(0)) >= 0 ? "'" + text : text;
  }

  private static JsonNode read() {
    try {
      return JSON.readTree(Files.readString(Path.of(System.getenv("AUDIT_LOGS_SUITE"), "story.json")));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
