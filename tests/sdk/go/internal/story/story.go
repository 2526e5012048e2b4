// Package story has what the stories share: the data, how a check is told, and the CSV.
package story

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// Event is an event as it goes over the wire.
type Event map[string]any

// Export says what to export and which events come back.
type Export struct {
	Name       string
	From, To   string
	Actions    []string
	Actors     []string
	ActorNames []string `json:"actor_names"`
	ActorIDs   []string `json:"actor_ids"`
	Targets    []string
	Events     []int
}

// Refusal says what to change in the first event and what is wrong then.
type Refusal struct {
	Name         string
	Needs        string
	Status       int
	InstancePath string `json:"instance_path"`
	Field, Code  string
	Change       map[string]any
}

// Data is story.json.
var Data struct {
	Action                   string
	Schemas                  []json.RawMessage
	Events                   []Event
	Exports                  []Export
	Refusals                 []Refusal
	UnregisteredOrganization string `json:"unregistered_organization"`
	UnknownOrganization      string `json:"unknown_organization"`
	UnknownExport            string `json:"unknown_export"`
	OddAction                string `json:"odd_action"`
}

var (
	columns = strings.Fields(`id organization_id action version occurred_at received_at actor_id
		actor_type actor_name actor_metadata targets context_location context_user_agent metadata sequence`)
	uuid    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	eventID = regexp.MustCompile(`^audit_event_[0-9A-HJKMNP-TV-Z]{26}$`)
	digits  = regexp.MustCompile(`^[0-9]+$`)
	started = time.Now()
	failed  bool
)

func init() {
	text, err := os.ReadFile(filepath.Join(os.Getenv("AUDIT_LOGS_SUITE"), "story.json"))
	Must(err)
	Must(json.Unmarshal(text, &Data))
}

// Must breaks the chapter off on an error that no check expects.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Got is the value of a call that must succeed.
func Got[T any](value T, err error) T {
	Must(err)
	return value
}

// Check tells whether actual is what was expected, as a line of TAP.
func Check(name string, actual, expected any) {
	if reflect.DeepEqual(actual, expected) {
		fmt.Printf("ok - %s\n", name)
		return
	}
	failed = true
	fmt.Printf("not ok - %s: got %#v, expected %#v\n", name, actual, expected)
}

// IsUUID tells whether the text is one.
func IsUUID(text string) bool { return uuid.MatchString(text) }

// Tell tells a chapter; one that breaks off is a failed check, not the end.
func Tell(name string, chapter func()) {
	defer func() {
		if broken := recover(); broken != nil {
			Check(name+" ends well", fmt.Sprint(broken), "")
		}
	}()
	chapter()
}

// End ends the program.
func End() {
	if failed {
		os.Exit(1)
	}
}

// As converts JSON to a type of the SDK.
func As[T any](value any) T {
	var result T
	Must(json.Unmarshal(Got(json.Marshal(value)), &result))
	return result
}

// Refused is the event of a refusal.
func (r Refusal) Refused() Event {
	event := Event{}
	for name, value := range Data.Events[0] {
		event[name] = value
	}
	for name, value := range r.Change {
		event[name] = value
	}
	return event
}

// Named tells whether an entry of errors in the body points at what is wrong.
func (r Refusal) Named(body string) bool {
	var answer struct {
		Errors []struct{ InstancePath, Field, Code string }
	}
	Must(json.Unmarshal([]byte(body), &answer))
	for _, entry := range answer.Errors {
		if r.InstancePath != "" && entry.InstancePath == r.InstancePath {
			return true
		}
		if r.Field != "" && strings.HasPrefix(entry.Field, r.Field) && (r.Code == "" || r.Code == entry.Code) {
			return true
		}
	}
	return false
}

// Download gives the rows of a CSV that is fetched by its link alone.
func Download(url string) []map[string]string {
	response := Got(http.Get(url))
	defer response.Body.Close()
	Check("a download", response.StatusCode, 200)
	records := Got(csv.NewReader(response.Body).ReadAll())
	Check("the columns", records[0], columns)
	rows := []map[string]string{}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, cell := range record {
			row[columns[i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// CheckRows compares every cell with what was sent.
func CheckRows(name string, rows []map[string]string, organization string, indices ...int) {
	Check(name+": rows", len(rows), len(indices))
	for i := 0; i < min(len(rows), len(indices)); i++ {
		expected := expected(Data.Events[indices[i]], organization)
		Check(fmt.Sprintf("%s: event %d", name, indices[i]), toldApart(rows[i]), expected)
	}
}

func expected(event Event, organization string) map[string]any {
	actor, context := event["actor"].(map[string]any), event["context"].(map[string]any)
	version := "1"
	if given, ok := event["version"].(float64); ok {
		version = fmt.Sprint(given)
	}
	return map[string]any{
		"id":                 true,
		"organization_id":    organization,
		"action":             event["action"],
		"version":            version,
		"occurred_at":        instant(text(event["occurred_at"])),
		"received_at":        true,
		"actor_id":           actor["id"],
		"actor_type":         actor["type"],
		"actor_name":         guarded(text(actor["name"])),
		"actor_metadata":     actor["metadata"],
		"targets":            event["targets"],
		"context_location":   guarded(text(context["location"])),
		"context_user_agent": text(context["user_agent"]),
		"metadata":           event["metadata"],
		"sequence":           true,
	}
}

// toldApart has the cells with JSON parsed, and what only the server knows held against its form.
func toldApart(row map[string]string) map[string]any {
	cells := map[string]any{}
	for name, cell := range row {
		cells[name] = cell
	}
	for _, name := range []string{"actor_metadata", "targets", "metadata"} {
		cells[name] = nil
		if row[name] != "" {
			var value any
			Must(json.Unmarshal([]byte(row[name]), &value))
			cells[name] = value
		}
	}
	received := instant(row["received_at"])
	cells["id"] = eventID.MatchString(row["id"])
	cells["occurred_at"] = instant(row["occurred_at"])
	cells["received_at"] = received.After(started.Add(-5*time.Second)) && received.Before(time.Now().Add(5*time.Second))
	cells["sequence"] = digits.MatchString(row["sequence"])
	return cells
}

func text(value any) string {
	result, _ := value.(string)
	return result
}

// guarded has ' before what a spreadsheet would take for a formula, as the server puts it.
func guarded(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") {
		return "'" + text
	}
	return text
}

func instant(text string) time.Time { return Got(time.Parse(time.RFC3339Nano, text)).UTC() }
