import com.fasterxml.jackson.databind.JsonNode;
import com.workos.WorkOS;
import com.workos.auditlogs.AuditLogs;
import com.workos.common.exceptions.BadRequestException;
import com.workos.common.exceptions.NotFoundException;
import com.workos.common.exceptions.UnauthorizedException;
import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.common.exceptions.WorkOSException;
import com.workos.common.http.Page;
import com.workos.common.http.RequestOptions;
import com.workos.models.AuditLogAction;
import com.workos.models.AuditLogEvent;
import com.workos.models.AuditLogExport;
import com.workos.models.AuditLogSchema;
import com.workos.models.AuditLogSchemaActor;
import com.workos.models.AuditLogSchemaTarget;
import com.workos.models.Organization;
import com.workos.organizations.Organizations;
import com.workos.types.AuditLogConfigurationState;
import com.workos.types.AuditLogExportState;
import com.workos.types.PaginationOrder;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;

/** The story, told by the newest {@code com.workos:workos}. */
final class Story {
  private static final String UNKNOWN = Support.text("unknown_organization");
  private static final String ACTION = Support.text("action");

  private final AuditLogs logs;
  private final Organizations organizations;
  private final Organization acme;

  private Story(WorkOS workos) {
    logs = workos.getAuditLogs();
    organizations = workos.getOrganizations();
    acme = organizations.create("Acme");
  }

  public static void main(String[] arguments) {
    System.out.println("# sdk com.workos:workos " + WorkOS.class.getPackage().getImplementationVersion());
    Story story = new Story(connect(System.getenv("AUDIT_LOGS_KEY")));
    Support.chapter("organizations", story::tellsOrganizations);
    Support.chapter("pages of organizations", story::tellsPagesOfOrganizations);
    Support.chapter("schemas", story::tellsSchemas);
    Support.chapter("actions", story::tellsActions);
    Support.chapter("events", story::tellsEvents);
    Support.chapter("refusals", story::tellsRefusals);
    Support.chapter("idempotency", story::tellsIdempotency);
    Support.chapter("exports", story::tellsExports);
    Support.chapter("refused exports", story::tellsRefusedExports);
    Support.chapter("retention", story::tellsRetention);
    Support.chapter("keys", story::tellsKeys);
    System.exit(Support.anyFailed() ? 1 : 0);
  }

  private static WorkOS connect(String key) {
    return new WorkOS(key, "client_123456789", System.getenv("AUDIT_LOGS_URL"));
  }

  private Boolean send(String organization, int index) {
    return logs.createEvent(organization, Support.event(index)).getSuccess();
  }

  private AuditLogSchema createSchema(String action, JsonNode schema) {
    List<AuditLogSchemaTarget> targets = new ArrayList<>();
    for (JsonNode target : schema.get("targets")) {
      targets.add(Support.JSON.convertValue(target, AuditLogSchemaTarget.class));
    }
    AuditLogSchemaActor actor =
        new AuditLogSchemaActor(Support.map(schema.get("actor").get("metadata")));
    return logs.createSchema(action, targets, actor, Support.map(schema.get("metadata")));
  }

  private AuditLogSchema createSchema(String action) {
    return logs.createSchema(action, List.of(new AuditLogSchemaTarget("thing", null)));
  }

  private AuditLogExport createExport(String organization, JsonNode wanted) {
    return logs.createExport(
        organization,
        OffsetDateTime.parse(wanted.get("from").asText()),
        OffsetDateTime.parse(wanted.get("to").asText()),
        Support.strings(wanted.get("actions")),
        Support.strings(wanted.get("actors")),
        Support.strings(wanted.get("actor_names")),
        Support.strings(wanted.get("actor_ids")),
        Support.strings(wanted.get("targets")));
  }

  private AuditLogExport ready(AuditLogExport export) throws InterruptedException {
    for (int i = 0; i < 600 && export.getState() == AuditLogExportState.Pending; i++) {
      Thread.sleep(50);
      export = logs.getExport(export.getId());
    }
    return export;
  }

  private List<Map<String, String>> readExport(String organization, JsonNode wanted)
      throws Exception {
    return Support.download(ready(createExport(organization, wanted)).getUrl());
  }

  private static JsonNode everything() {
    return Support.STORY.get("exports").get(0);
  }

  private static JsonNode indices(Integer... indices) {
    return Support.JSON.valueToTree(indices);
  }

  private Void tellsOrganizations() {
    Support.check("a new organization", acme.getName(), "Acme");
    Support.check("got by id", organizations.get(acme.getId()), acme);
    Support.refused("an unknown one", NotFoundException.class, () -> organizations.get(UNKNOWN));
    Organization renamed = organizations.update(acme.getId(), "Acme Incorporated");
    Support.check("renamed", renamed.getName(), "Acme Incorporated");
    Map<String, String> metadata = Map.of("tier", "gold");
    Organization globex = organizations.create("Globex", null, null, null, metadata, "crm-17");
    Support.check("metadata", globex.getMetadata(), metadata);
    Support.check("got by external id", organizations.getByExternalId("crm-17"), globex);
    Organization gone = organizations.create("Gone");
    organizations.delete(gone.getId());
    Support.refused("a deleted one", NotFoundException.class, () -> organizations.get(gone.getId()));
    return null;
  }

  private Void tellsPagesOfOrganizations() {
    for (int number = 0; number < 3; number++) {
      organizations.create("Page " + number);
    }
    Page<Organization> page = organizations.list(null, null, 2);
    List<String> names = page.data.stream().map(Organization::getName).toList();
    Support.check("the newest first", names, List.of("Page 2", "Page 1"));
    Support.check("no cursor before the first page", page.listMetadata.before, null);
    List<String> everyone = new ArrayList<>();
    page.autoPagingIterable().forEach(organization -> everyone.add(organization.getId()));
    Support.check("every organization once", new HashSet<>(everyone).size(), 5);
    Support.check("the first of them last", everyone.get(4), acme.getId());
    return null;
  }

  private Void tellsSchemas() {
    JsonNode first = Support.STORY.get("schemas").get(0);
    JsonNode second = Support.STORY.get("schemas").get(1);
    AuditLogSchema made = createSchema(ACTION, first);
    Support.check("version 1", made.getVersion(), 1L);
    Support.check("its metadata", made.getMetadata(), Support.map(first.get("metadata")));
    Support.check(
        "its actor", made.getActor().getMetadata(), Support.map(first.get("actor").get("metadata")));
    Support.check("its first target", made.getTargets().get(0).getType(), "report");
    Support.check("the same again", createSchema(ACTION, first), made);
    AuditLogSchema changed = createSchema(ACTION, second);
    Support.check("version 2", changed.getVersion(), 2L);
    Page<AuditLogSchema> page = logs.listActionSchemas(ACTION);
    Support.check("both, newest first", page.data, List.of(changed, made));
    Support.check("nothing before", page.listMetadata.before, null);
    Support.check("nothing after", page.listMetadata.after, null);
    List<AuditLogSchema> all = new ArrayList<>();
    logs.listActionSchemas(ACTION, null, null, 1).autoPagingIterable().forEach(all::add);
    Support.check("one by one", all, List.of(changed, made));
    Support.refused(
        "schemas of an unknown action",
        NotFoundException.class,
        () -> logs.listActionSchemas("report.unheard_of"));
    Support.refused(
        "a schema without targets",
        UnprocessableEntityException.class,
        () -> logs.createSchema("report.empty", List.of()));
    String odd = Support.text("odd_action");
    createSchema(odd);
    Support.check("a name that needs escapes", logs.listActionSchemas(odd).data.size(), 1);
    return null;
  }

  private static List<String> names(Iterable<AuditLogAction> actions) {
    List<String> names = new ArrayList<>();
    actions.forEach(action -> names.add(action.getName()));
    return names;
  }

  private Void tellsActions() {
    List<String> all = new ArrayList<>(List.of(ACTION, Support.text("odd_action")));
    for (int number = 1; number <= 11; number++) {
      all.add("paging.action_%02d".formatted(number));
      createSchema(all.get(all.size() - 1));
    }
    Collections.reverse(all);
    Page<AuditLogAction> first = logs.listActions(null, null, 5);
    Support.check("first page", names(first.data), all.subList(0, 5));
    Support.check("nothing before it", first.listMetadata.before, null);
    Page<AuditLogAction> second = first.nextPage();
    Support.check("second page", names(second.data), all.subList(5, 10));
    Page<AuditLogAction> last = second.nextPage();
    Support.check("last page", names(last.data), all.subList(10, 13));
    Support.check("nothing after it", last.hasNextPage(), false);
    Support.check("all pages", names(first.autoPagingIterable()), all);
    Support.check("an action shows its latest schema", last.data.get(2).getSchema().getVersion(), 2L);
    Page<AuditLogAction> oldest = logs.listActions(null, null, 100, PaginationOrder.Asc);
    Support.check("oldest first", oldest.data.get(0).getName(), ACTION);
    Support.refused(
        "an unknown cursor",
        NotFoundException.class,
        () -> logs.listActions(null, "ala_01HXYZ123456789ABCDEFGHIJ"));
    Support.refused(
        "a limit of 9999",
        UnprocessableEntityException.class,
        () -> logs.listActions(null, null, 9999));
    return null;
  }

  private Void tellsEvents() throws Exception {
    for (int index = 0; index < 4; index++) {
      Support.check("event " + index, send(acme.getId(), index), true);
    }
    String elsewhere = Support.text("unregistered_organization");
    send(elsewhere, 0);
    Support.checkRows(
        "an organization that nobody made",
        readExport(elsewhere, everything()),
        elsewhere,
        indices(0));
    return null;
  }

  private Void tellsRefusals() throws Exception {
    for (JsonNode refusal : Support.refusals()) {
      String name = refusal.get("name").asText();
      boolean bad = refusal.get("status").asInt() == 400;
      AuditLogEvent event = Support.refusedEvent(refusal);
      WorkOSException error =
          Support.refused(
              name,
              bad ? BadRequestException.class : UnprocessableEntityException.class,
              () -> logs.createEvent(acme.getId(), event));
      if (error == null) {
        continue;
      }
      boolean named = Support.namesWhatIsWrong(refusal, error.rawBody);
      Support.check(name + ": what is wrong", named, true);
      Support.check(name + ": errors", error.errors != null && !error.errors.isEmpty(), true);
      if (bad) {
        Support.check(name + ": code", error.code, "invalid_audit_log_event");
      } else {
        String field = error.errors.get(0).field;
        Support.check(name + ": field", field.startsWith(refusal.get("field").asText()), true);
      }
    }
    return null;
  }

  private Void tellsIdempotency() throws Exception {
    RequestOptions key = RequestOptions.builder().idempotencyKey("a key").build();
    for (int index : new int[] {0, 0, 1}) {
      logs.createEvent("org_same_key", Support.event(index), key);
    }
    Support.checkRows(
        "a key counts once for equal events only",
        readExport("org_same_key", everything()),
        "org_same_key",
        indices(1, 0));
    // The SDK makes the key of the content, so that equal calls share it.
    for (int index : new int[] {0, 0, 1}) {
      send("org_no_key", index);
    }
    Support.checkRows(
        "equal calls are one event",
        readExport("org_no_key", everything()),
        "org_no_key",
        indices(1, 0));
    // The same key on exports must not make two of them one.
    String first = createExport("org_no_key", everything()).getId();
    String second = createExport("org_no_key", everything()).getId();
    Support.check("equal exports are two", first.equals(second), false);
    return null;
  }

  private Void tellsExports() throws Exception {
    for (JsonNode wanted : Support.STORY.get("exports")) {
      List<Map<String, String>> rows = readExport(acme.getId(), wanted);
      String name = "export " + wanted.get("name").asText();
      Support.checkRows(name, rows, acme.getId(), wanted.get("events"));
    }
    OffsetDateTime start = OffsetDateTime.parse("2026-11-01T11:00:00+01:00");
    OffsetDateTime end = OffsetDateTime.parse("2026-11-02T00:00:00.000000001Z");
    AuditLogExport export = logs.createExport(acme.getId(), start, end);
    Support.check("a new export", export.getId().length(), 43);
    AuditLogExport ready = ready(export);
    Support.check("is ready", ready.getState(), AuditLogExportState.Ready);
    Support.checkRows(
        "an offset and nanoseconds", Support.download(ready.getUrl()), acme.getId(), indices(1));
    return null;
  }

  private Void tellsRefusedExports() {
    String id = Support.text("unknown_export");
    Support.refused("an unknown export", NotFoundException.class, () -> logs.getExport(id));
    OffsetDateTime start = OffsetDateTime.parse("2026-11-02T00:00:00Z");
    WorkOSException error =
        Support.refused(
            "a range that ends before it starts",
            BadRequestException.class,
            () -> logs.createExport(acme.getId(), start, start.minusDays(1)));
    Support.check("its code", error.code, "invalid_audit_log_export_range_date");
    Support.refused(
        "an export of an unknown organization",
        NotFoundException.class,
        () -> createExport(UNKNOWN, everything()));
    return null;
  }

  private Void tellsRetention() {
    String id = acme.getId();
    var configuration = organizations.getAuditLogConfiguration(id);
    Support.check("configuration of", configuration.getOrganizationId(), id);
    Support.check("retention by default", configuration.getRetentionPeriodInDays(), 365L);
    Support.check("state", configuration.getState(), AuditLogConfigurationState.Active);
    Support.check("no stream", configuration.getLogStream(), null);
    Support.check(
        "no retention yet", logs.getAuditLogsRetention(id).getRetentionPeriodInDays(), null);
    var set = logs.updateAuditLogsRetention(id, 30);
    Support.check("set to 30 days", set.getRetentionPeriodInDays(), 30L);
    Support.check("got", logs.getAuditLogsRetention(id), set);
    Support.refused(
        "-1 days",
        UnprocessableEntityException.class,
        () -> logs.updateAuditLogsRetention(id, -1));
    Support.refused(
        "retention of an unknown organization",
        NotFoundException.class,
        () -> logs.getAuditLogsRetention(UNKNOWN));
    Support.refused(
        "configuration of an unknown organization",
        NotFoundException.class,
        () -> organizations.getAuditLogConfiguration(UNKNOWN));
    return null;
  }

  private Void tellsKeys() {
    AuditLogs stranger = connect("sk_wrong").getAuditLogs();
    Support.refused("a wrong key", UnauthorizedException.class, stranger::listActions);
    return null;
  }
}
