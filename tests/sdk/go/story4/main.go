// The story, told by workos-go 4, whose package auditlogs is that of version 3 to the letter.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/workos/workos-go/v4/pkg/auditlogs"
	"github.com/workos/workos-go/v4/pkg/organizations"
	"github.com/workos/workos-go/v4/pkg/workos_errors"

	. "auditlogs/sdk-story/internal/story"
)

var (
	ctx = context.Background()
	url = os.Getenv("AUDIT_LOGS_URL")
	key = os.Getenv("AUDIT_LOGS_KEY")

	directory = &organizations.Client{APIKey: key, Endpoint: url}
)

func main() {
	fmt.Println("# sdk workos-go v4.46.1")
	auditlogs.DefaultClient.EventsEndpoint = url + "/audit_logs/events"
	auditlogs.DefaultClient.ExportsEndpoint = url + "/audit_logs/exports"
	auditlogs.SetAPIKey(key)
	Tell("schemas", registerSchemas)
	Tell("organizations", tellOrganizations)
	Tell("events and exports", tellEvents)
	Tell("refusals", tellRefusals)
	Tell("idempotency", tellIdempotency)
	Tell("refused exports", tellRefusedExports)
	Tell("keys", tellKeys)
	End()
}

// registerSchemas does by hand what this line of the SDK has no calls for.
func registerSchemas() {
	register := func(action string, body []byte) {
		path := url + "/audit_logs/actions/" + action + "/schemas"
		request := Got(http.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		request.Header.Set("Authorization", "Bearer "+key)
		response := Got(http.DefaultClient.Do(request))
		response.Body.Close()
		Check("a schema of "+action, response.StatusCode, 201)
	}
	for _, schema := range Data.Schemas {
		register(Data.Action, schema)
	}
	register("paging.action_01", []byte(`{"targets": [{"type": "thing"}]}`))
}

func refused(name string, status int, err error) workos_errors.HTTPError {
	var answer workos_errors.HTTPError
	Check(name, errors.As(err, &answer) && answer.Code == status, true)
	Check(name+": request id", IsUUID(answer.RequestID), true)
	return answer
}

func send(organization string, event Event, key string) error {
	return auditlogs.CreateEvent(ctx, auditlogs.CreateEventOpts{
		OrganizationID: organization, Event: As[auditlogs.Event](event), IdempotencyKey: key,
	})
}

func createExport(organization string, wanted Export) (auditlogs.AuditLogExport, error) {
	return auditlogs.CreateExport(ctx, auditlogs.CreateExportOpts{
		OrganizationID: organization, RangeStart: wanted.From, RangeEnd: wanted.To,
		Actions: wanted.Actions, Actors: wanted.Actors, ActorNames: wanted.ActorNames,
		ActorIds: wanted.ActorIDs, Targets: wanted.Targets,
	})
}

func readExport(organization string, wanted Export) []map[string]string {
	export := Got(createExport(organization, wanted))
	// The SDK's own constants are capitalized and equal nothing that comes over the wire.
	for i := 0; i < 600 && export.State == "pending"; i++ {
		time.Sleep(50 * time.Millisecond)
		export = Got(auditlogs.GetExport(ctx, auditlogs.GetExportOpts{ExportID: export.ID}))
	}
	Check("an export is ready", string(export.State), "ready")
	return Download(export.URL)
}

func tellOrganizations() {
	acme := Got(directory.CreateOrganization(ctx, organizations.CreateOrganizationOpts{Name: "Acme"}))
	Check("a new organization", acme.Name, "Acme")
	Check("got by id", Got(directory.GetOrganization(ctx, organizations.GetOrganizationOpts{Organization: acme.ID})), acme)
	// The SDK sends `Name`, `Organization` and `"external_id": ""`, which must do no harm.
	changed := Got(directory.UpdateOrganization(ctx, organizations.UpdateOrganizationOpts{Organization: acme.ID, Name: "Acme"}))
	Check("changed", changed.ID, acme.ID)
	_, err := directory.GetOrganization(ctx, organizations.GetOrganizationOpts{Organization: Data.UnknownOrganization})
	refused("an unknown one", 404, err)
	page := Got(directory.ListOrganizations(ctx, organizations.ListOrganizationsOpts{}))
	Check("the only one", len(page.Data), 1)
	Check("no cursors", page.ListMetadata.Before+page.ListMetadata.After, "")
	Must(directory.DeleteOrganization(ctx, organizations.DeleteOrganizationOpts{Organization: acme.ID}))
}

func tellEvents() {
	for index, event := range Data.Events {
		Check(fmt.Sprint("event ", index), send("org_acme", event, ""), nil)
	}
	for _, wanted := range Data.Exports {
		CheckRows("export "+wanted.Name, readExport("org_acme", wanted), "org_acme", wanted.Events...)
	}
}

func tellRefusals() {
	for _, refusal := range Data.Refusals {
		if refusal.Needs != "" {
			continue
		}
		answer := refused(refusal.Name, refusal.Status, send("org_acme", refusal.Refused(), ""))
		Check(refusal.Name+": what is wrong", refusal.Named(answer.RawBody), true)
		if refusal.Status == 422 {
			Check(refusal.Name+": fields", len(answer.FieldErrors) > 0, true)
		} else {
			// Without a message in each entry of `errors` these would be blank.
			Check(refusal.Name+": errors", len(answer.Errors) > 0 && answer.Errors[0] != "", true)
		}
	}
}

func tellIdempotency() {
	zero, one := Data.Events[0], Data.Events[1]
	for organization, key := range map[string]string{"org_same_key": "a key", "org_no_key": ""} {
		for _, event := range []Event{zero, zero, one} {
			Must(send(organization, event, key))
		}
		rows := readExport(organization, Data.Exports[0])
		CheckRows(organization, rows, organization, 1, 0)
	}
}

func tellRefusedExports() {
	_, err := auditlogs.GetExport(ctx, auditlogs.GetExportOpts{ExportID: Data.UnknownExport})
	refused("an unknown export", 404, err)
	_, err = createExport("org_acme", Export{From: "2026-11-02", To: "2026-11-01"})
	answer := refused("a range that ends before it starts", 400, err)
	Check("its message", answer.Message, "Invalid date range")
	_, err = createExport(Data.UnknownOrganization, Data.Exports[0])
	refused("an export of an unknown organization", 404, err)
}

func tellKeys() {
	auditlogs.SetAPIKey("sk_wrong")
	_, err := auditlogs.GetExport(ctx, auditlogs.GetExportOpts{ExportID: Data.UnknownExport})
	refused("a wrong key", 401, err)
}
