// Command tlog-interop checks logs and receipts of audit-logs with the libraries of Go's checksum
// database, and nothing of ours: what it accepts, others can check, too.
//
//	tlog-interop log URL API_KEY ORGANIZATION VKEY EARLIER_SIZE
//	tlog-interop receipt FILE VKEY
//
// "log" reads a log over its tlog-tiles paths (https://c2sp.org/tlog-tiles), checks the signature of
// its checkpoint, that every entry is in the tree, and that the tree began as one of EARLIER_SIZE
// leaves did. "receipt" checks a receipt in JSON, as grpcurl prints it: the receipt alone, or the
// answer that has it. Exit code 0 means that all is well.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 6 && args[0] == "log":
		earlier, err := strconv.ParseInt(args[5], 10, 64)
		if err != nil {
			return fmt.Errorf("the earlier size: %w", err)
		}
		return checkLog(args[1], args[2], args[3], args[4], earlier)
	case len(args) == 3 && args[0] == "receipt":
		return checkReceipt(args[1], args[2])
	}
	return fmt.Errorf("usage: log URL API_KEY ORGANIZATION VKEY EARLIER_SIZE | receipt FILE VKEY")
}
