package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// height is that of tiles in tlog-tiles: 256 hashes.
const height = 8

// A server reads one log of a service.
type server struct {
	base, key string
	client    http.Client
}

func (s *server) get(path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 32<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return body, nil
}

// tilePath is that of tlog-tiles, which leaves out the height that Go's own paths begin with and
// writes "entries" for "data".
func tilePath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "/tile/" + strings.Replace(path, "data/", "entries/", 1)
}

func (s *server) Height() int { return height }

func (s *server) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		bytes, err := s.get(tilePath(tile))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

// The library asks to save tiles that it has verified; nothing is kept here.
func (s *server) SaveTiles([]tlog.Tile, [][]byte) {}

// entries reads the bundle that belongs to a tile of leaves.
func (s *server) entries(index int64, width int) ([][]byte, error) {
	rest, err := s.get(tilePath(tlog.Tile{H: height, L: -1, N: index, W: width}))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(rest) > 0 {
		if len(rest) < 2 {
			return nil, fmt.Errorf("bundle %d ends within a length", index)
		}
		length := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+length {
			return nil, fmt.Errorf("bundle %d ends within an entry", index)
		}
		entries = append(entries, rest[2:2+length])
		rest = rest[2+length:]
	}
	if len(entries) != width {
		return nil, fmt.Errorf("bundle %d has %d entries, not %d", index, len(entries), width)
	}
	return entries, nil
}

func checkLog(base, key, organization, vkey string, earlier int64) error {
	log := &server{
		base:   base + "/tlog/" + organization,
		key:    key,
		client: http.Client{Timeout: 30 * time.Second},
	}
	text, err := log.get("/checkpoint")
	if err != nil {
		return err
	}
	head, err := openCheckpoint(text, vkey)
	if err != nil {
		return err
	}
	// Checks every tile that it reads against the root.
	hashes := tlog.TileHashReader(head.tree, log)
	if err := checkEntries(log, head.tree, hashes); err != nil {
		return err
	}
	if err := checkConsistency(head.tree, earlier, hashes); err != nil {
		return err
	}
	fmt.Printf("%s: %d entries are in the tree, which began as that of %d\n",
		head.origin, head.tree.N, earlier)
	return nil
}

// checkEntries checks that every entry is at its place in the tree.
func checkEntries(log *server, tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 1 << height {
		width := min(1<<height, int(tree.N-first))
		entries, err := log.entries(first>>height, width)
		if err != nil {
			return err
		}
		for offset, entry := range entries {
			sequence := first + int64(offset)
			proof, err := tlog.ProveRecord(tree.N, sequence, hashes)
			if err != nil {
				return fmt.Errorf("entry %d: %w", sequence, err)
			}
			leaf := tlog.RecordHash(entry)
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, sequence, leaf); err != nil {
				return fmt.Errorf("entry %d: %w", sequence, err)
			}
		}
	}
	return nil
}

// checkConsistency checks that the tree began as the one of earlier leaves that the tiles give.
func checkConsistency(tree tlog.Tree, earlier int64, hashes tlog.HashReader) error {
	// The library has no proofs from the empty tree, which is the beginning of every tree.
	if earlier == 0 {
		return nil
	}
	root, err := tlog.TreeHash(earlier, hashes)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, earlier, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, earlier, root)
}
