// There is no go.sum: the Go module proxy that is reached from here does not serve the SDK. Where it
// does, the checksum database vouches for these versions.
module auditlogs/sdk-story

go 1.23

require (
	github.com/workos/workos-go/v10 v10.1.1
	github.com/workos/workos-go/v4 v4.46.1
)
