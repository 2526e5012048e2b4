// The story, told by the newest workos-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/workos/workos-go/v10"

	. "auditlogs/sdk-story/internal/story"
)

var (
	ctx    = context.Background()
	client = connect(os.Getenv("AUDIT_LOGS_KEY"))
	logs   = client.AuditLogs()
	acme   = Got(client.Organizations().Create(ctx, &workos.OrganizationsCreateParams{Name: "Acme"}))
)

func main() {
	fmt.Println("# sdk workos-go", workos.Version)
	Tell("organizations", tellOrganizations)
	Tell("pages of organizations", tellPagesOfOrganizations)
	Tell("schemas", tellSchemas)
	Tell("actions", tellActions)
	Tell("events", tellEvents)
	Tell("refusals", tellRefusals)
	Tell("idempotency", tellIdempotency)
	Tell("exports", tellExports)
	Tell("refused exports", tellRefusedExports)
	Tell("retention", tellRetention)
	Tell("keys", tellKeys)
	End()
}

func connect(key string) *workos.Client {
	return workos.NewClient(key, workos.WithBaseURL(os.Getenv("AUDIT_LOGS_URL")))
}

// refused gives the error of kind E that the API must have answered with.
func refused[E error](name string, status int, err error) *workos.APIError {
	var kind E
	var answer *workos.APIError
	Check(name, errors.As(err, &kind) && errors.As(err, &answer), true)
	if answer != nil {
		Check(name+": status", answer.StatusCode, status)
		Check(name+": request id", IsUUID(answer.RequestID), true)
	}
	return answer
}

func notFound(name string, err error) *workos.APIError {
	return refused[*workos.NotFoundError](name, 404, err)
}

func all[T any](pages *workos.Iterator[T]) []T {
	var items []T
	for pages.Next() {
		items = append(items, *pages.Current())
	}
	Must(pages.Err())
	return items
}

func send(organization string, event Event, options ...workos.RequestOption) error {
	params := &workos.AuditLogsCreateEventParams{OrganizationID: organization, Event: As[*workos.AuditLogEvent](event)}
	answer, err := logs.CreateEvent(ctx, params, options...)
	if err == nil && !answer.Success {
		err = errors.New("no success")
	}
	return err
}

func createSchema(action string, schema any) (*workos.AuditLogSchema, error) {
	return logs.CreateSchema(ctx, action, As[*workos.AuditLogsCreateSchemaParams](schema))
}

func createExport(organization string, wanted Export) (*workos.AuditLogExport, error) {
	return logs.CreateExport(ctx, &workos.AuditLogsCreateExportParams{
		OrganizationID: organization, RangeStart: wanted.From, RangeEnd: wanted.To,
		Actions: wanted.Actions, Actors: wanted.Actors, ActorNames: wanted.ActorNames,
		ActorIDs: wanted.ActorIDs, Targets: wanted.Targets,
	})
}

func readExport(organization string, wanted Export) []map[string]string {
	export := Got(createExport(organization, wanted))
	for i := 0; i < 600 && export.State == workos.AuditLogExportStatePending; i++ {
		time.Sleep(50 * time.Millisecond)
		export = Got(logs.GetExport(ctx, export.ID))
	}
	Check("an export is ready", export.State, workos.AuditLogExportStateReady)
	return Download(*export.URL)
}

func tellOrganizations() {
	organizations := client.Organizations()
	Check("a new organization", acme.Name, "Acme")
	Check("got by id", Got(organizations.Get(ctx, acme.ID)), acme)
	_, err := organizations.Get(ctx, Data.UnknownOrganization)
	answer := notFound("an unknown one", err)
	Check("its message", answer.Message, "Organization not found: '"+Data.UnknownOrganization+"'.")
	renamed := Got(organizations.Update(ctx, acme.ID, &workos.OrganizationsUpdateParams{Name: workos.String("Acme Inc")}))
	Check("renamed", renamed.Name, "Acme Inc")
	globex := Got(organizations.Create(ctx, &workos.OrganizationsCreateParams{
		Name: "Globex", ExternalID: workos.String("crm-17"), Metadata: map[string]string{"tier": "gold"},
	}))
	Check("metadata", globex.Metadata, map[string]string{"tier": "gold"})
	Check("got by external id", Got(organizations.GetByExternalID(ctx, "crm-17")), globex)
	gone := Got(organizations.Create(ctx, &workos.OrganizationsCreateParams{Name: "Gone"}))
	Must(organizations.Delete(ctx, gone.ID))
	_, err = organizations.Get(ctx, gone.ID)
	notFound("a deleted one", err)
}

func tellPagesOfOrganizations() {
	for number := 0; number < 3; number++ {
		name := fmt.Sprint("Page ", number)
		Got(client.Organizations().Create(ctx, &workos.OrganizationsCreateParams{Name: name}))
	}
	params := &workos.OrganizationsListParams{}
	params.Limit = workos.Int(2)
	everyone := all(client.Organizations().List(ctx, params))
	Check("every organization", len(everyone), 5)
	Check("the newest first", everyone[0].Name, "Page 2")
	Check("the first of them last", everyone[4].ID, acme.ID)
}

func tellSchemas() {
	first, second := Data.Schemas[0], Data.Schemas[1]
	made := Got(createSchema(Data.Action, first))
	Check("version 1", made.Version, 1)
	Check("what it holds", As[workos.AuditLogsCreateSchemaParams](made), As[workos.AuditLogsCreateSchemaParams](first))
	Check("the same again", Got(createSchema(Data.Action, first)), made)
	changed := Got(createSchema(Data.Action, second))
	Check("version 2", changed.Version, 2)
	one := &workos.AuditLogsListActionSchemasParams{}
	one.Limit = workos.Int(1)
	Check("both, newest first", all(logs.ListActionSchemas(ctx, Data.Action, one)), []workos.AuditLogSchema{*changed, *made})
	unknown := logs.ListActionSchemas(ctx, "report.unheard_of", nil)
	unknown.Next()
	notFound("schemas of an unknown action", unknown.Err())
	_, err := createSchema("report.empty", Event{"targets": []any{}})
	refused[*workos.UnprocessableEntityError]("a schema without targets", 422, err)
	Got(createSchema(Data.OddAction, Event{"targets": []any{Event{"type": "thing"}}}))
	Check("a name that needs escapes", len(all(logs.ListActionSchemas(ctx, Data.OddAction, nil))), 1)
}

func tellActions() {
	names := []string{Data.OddAction, Data.Action}
	for number := 1; number <= 11; number++ {
		names = append([]string{fmt.Sprintf("paging.action_%02d", number)}, names...)
		Got(createSchema(names[0], Event{"targets": []any{Event{"type": "thing"}}}))
	}
	params := &workos.AuditLogsListActionsParams{}
	params.Limit = workos.Int(5)
	var told []string
	actions := all(logs.ListActions(ctx, params))
	for _, action := range actions {
		told = append(told, action.Name)
	}
	Check("all pages", told, names)
	Check("an action shows its latest schema", actions[12].Schema.Version, 2)
	params.After = workos.String("ala_01HXYZ123456789ABCDEFGHIJ")
	pages := logs.ListActions(ctx, params)
	pages.Next()
	notFound("an unknown cursor", pages.Err())
	many := &workos.AuditLogsListActionsParams{}
	many.Limit = workos.Int(9999)
	pages = logs.ListActions(ctx, many)
	pages.Next()
	refused[*workos.UnprocessableEntityError]("a limit of 9999", 422, pages.Err())
}

func tellEvents() {
	for index, event := range Data.Events {
		Check(fmt.Sprint("event ", index), send(acme.ID, event), nil)
	}
	elsewhere := Data.UnregisteredOrganization
	Must(send(elsewhere, Data.Events[0]))
	CheckRows("an organization that nobody made", readExport(elsewhere, Data.Exports[0]), elsewhere, 0)
}

func tellRefusals() {
	for _, refusal := range Data.Refusals {
		if refusal.Needs == "free form" {
			continue
		}
		err := send(acme.ID, refusal.Refused())
		var answer *workos.APIError
		if refusal.Status == 422 {
			answer = refused[*workos.UnprocessableEntityError](refusal.Name, 422, err)
			Check(refusal.Name+": message", answer.Message, "Validation failed.")
		} else {
			answer = refused[*workos.APIError](refusal.Name, 400, err)
			Check(refusal.Name+": code", answer.Code, "invalid_audit_log_event")
		}
		Check(refusal.Name+": what is wrong", refusal.Named(answer.RawBody), true)
	}
}

func tellIdempotency() {
	zero, one := Data.Events[0], Data.Events[1]
	for _, event := range []Event{zero, zero, one} {
		Must(send("org_same_key", event, workos.WithIdempotencyKey("a key")))
	}
	rows := readExport("org_same_key", Data.Exports[0])
	CheckRows("a key counts once for equal events only", rows, "org_same_key", 1, 0)
	// The SDK makes a new key for every call.
	Must(send("org_no_key", zero))
	Must(send("org_no_key", zero))
	CheckRows("equal calls are two events", readExport("org_no_key", Data.Exports[0]), "org_no_key", 0, 0)
}

func tellExports() {
	for _, wanted := range Data.Exports {
		CheckRows("export "+wanted.Name, readExport(acme.ID, wanted), acme.ID, wanted.Events...)
	}
	dates := Export{From: "2026-11-01", To: "2026-11-02T00:00:00+01:00"}
	CheckRows("a bare date and an offset", readExport(acme.ID, dates), acme.ID, 1)
}

func tellRefusedExports() {
	_, err := logs.GetExport(ctx, Data.UnknownExport)
	answer := notFound("an unknown export", err)
	Check("its message", answer.Message, "Audit Log Export not found: '"+Data.UnknownExport+"'.")
	_, err = createExport(acme.ID, Export{From: "2026-11-02", To: "2026-11-01"})
	answer = refused[*workos.APIError]("a range that ends before it starts", 400, err)
	Check("its code", answer.Code, "invalid_audit_log_export_range_date")
	_, err = createExport(Data.UnknownOrganization, Data.Exports[0])
	notFound("an export of an unknown organization", err)
}

func tellRetention() {
	set := func(id string, days int) (*workos.AuditLogsRetention, error) {
		params := &workos.AuditLogsUpdateOrganizationAuditLogsRetentionParams{RetentionPeriodInDays: days}
		return logs.UpdateOrganizationAuditLogsRetention(ctx, id, params)
	}
	configuration := Got(client.Organizations().GetAuditLogConfiguration(ctx, acme.ID))
	Check("configuration", *configuration, workos.AuditLogConfiguration{
		OrganizationID: acme.ID, RetentionPeriodInDays: 365, State: "active",
	})
	none := Got(logs.GetOrganizationAuditLogsRetention(ctx, acme.ID))
	Check("no retention yet", none.RetentionPeriodInDays, (*int)(nil))
	Check("set to 30 days", *Got(set(acme.ID, 30)).RetentionPeriodInDays, 30)
	Check("got", *Got(logs.GetOrganizationAuditLogsRetention(ctx, acme.ID)).RetentionPeriodInDays, 30)
	_, err := set(acme.ID, -1)
	refused[*workos.UnprocessableEntityError]("-1 days", 422, err)
	_, err = set(Data.UnknownOrganization, 30)
	notFound("retention of an unknown organization", err)
	_, err = client.Organizations().GetAuditLogConfiguration(ctx, Data.UnknownOrganization)
	notFound("configuration of an unknown organization", err)
}

func tellKeys() {
	pages := connect("sk_wrong").AuditLogs().ListActions(ctx, nil)
	pages.Next()
	answer := refused[*workos.AuthenticationError]("a wrong key", 401, pages.Err())
	Check("its message", answer.Message, "Unauthorized")
}
