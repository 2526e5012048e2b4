package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A receipt in the JSON form of protobuf: 64-bit numbers are strings, and a zero is left out.
type receipt struct {
	EventID        string `json:"eventId"`
	Sequence       string `json:"sequence"`
	LeafHash       []byte `json:"leafHash"`
	Salt           []byte `json:"salt"`
	CanonicalEvent []byte `json:"canonicalEvent"`
	TlogProof      string `json:"tlogProof"`
}

// An answer that has a receipt.
type answer struct {
	Receipt *receipt `json:"receipt"`
}

func readReceipt(file string) (receipt, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return receipt{}, err
	}
	var whole answer
	if err := json.Unmarshal(text, &whole); err != nil {
		return receipt{}, err
	}
	if whole.Receipt != nil {
		return *whole.Receipt, nil
	}
	var alone receipt
	return alone, json.Unmarshal(text, &alone)
}

func checkReceipt(file, vkey string) error {
	r, err := readReceipt(file)
	if err != nil {
		return fmt.Errorf("the receipt: %w", err)
	}
	leaf := tlog.RecordHash(append(r.Salt, r.CanonicalEvent...))
	if string(leaf[:]) != string(r.LeafHash) {
		return errors.New("the leaf hash is not that of salt and event")
	}
	if err := checkEvent(r); err != nil {
		return err
	}
	index, proof, note, err := parseProof(r.TlogProof)
	if err != nil {
		return fmt.Errorf("the proof: %w", err)
	}
	if stated, _ := strconv.ParseInt("0"+r.Sequence, 10, 64); stated != index {
		return fmt.Errorf("the proof is of entry %d, the receipt of %d", index, stated)
	}
	head, err := openCheckpoint([]byte(note), vkey)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, head.tree.N, head.tree.Hash, index, leaf); err != nil {
		return err
	}
	fmt.Printf("%s: %s is entry %d of %d\n", head.origin, r.EventID, index, head.tree.N)
	return nil
}

// checkEvent checks that the event which was hashed is the one that the receipt is said to be of.
func checkEvent(r receipt) error {
	var event struct{ ID string }
	if err := json.Unmarshal(r.CanonicalEvent, &event); err != nil {
		return fmt.Errorf("the event: %w", err)
	}
	if event.ID != r.EventID {
		return fmt.Errorf("the event is %s, not %s", event.ID, r.EventID)
	}
	return nil
}

// parseProof reads a tlog-proof (https://c2sp.org/tlog-proof): the index of the entry, the hashes and
// the signed checkpoint.
func parseProof(text string) (int64, tlog.RecordProof, string, error) {
	head, note, found := strings.Cut(text, "\n\n")
	if !found {
		return 0, nil, "", errors.New("there is no checkpoint")
	}
	lines := strings.Split(head, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		return 0, nil, "", errors.New("it begins in another way")
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return 0, nil, "", errors.New("there is no index")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return 0, nil, "", err
	}
	var proof tlog.RecordProof
	for _, line := range lines[1:] {
		bytes, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(bytes) != tlog.HashSize {
			return 0, nil, "", fmt.Errorf("%q is no hash", line)
		}
		proof = append(proof, tlog.Hash(bytes))
	}
	return index, proof, note, nil
}
