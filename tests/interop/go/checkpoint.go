package main

import (
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A checkpoint is the size and the root of a tree, of which somebody we trust says that it is.
type checkpoint struct {
	origin string
	tree   tlog.Tree
}

// openCheckpoint reads a checkpoint (https://c2sp.org/tlog-checkpoint) that the key has signed under
// the name of the log.
func openCheckpoint(text []byte, vkey string) (checkpoint, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return checkpoint{}, fmt.Errorf("the key: %w", err)
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, fmt.Errorf("the checkpoint: %w", err)
	}
	var origin, root string
	var size int64
	if _, err := fmt.Sscanf(signed.Text, "%s\n%d\n%s\n", &origin, &size, &root); err != nil {
		return checkpoint{}, fmt.Errorf("the lines of the checkpoint: %w", err)
	}
	if origin != verifier.Name() {
		return checkpoint{}, fmt.Errorf("the checkpoint is of %s, the key of %s", origin, verifier.Name())
	}
	hash, err := tlog.ParseHash(root)
	if err != nil {
		return checkpoint{}, fmt.Errorf("the root: %w", err)
	}
	return checkpoint{origin, tlog.Tree{N: size, Hash: hash}}, nil
}
