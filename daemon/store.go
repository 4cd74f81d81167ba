package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"swerve/failover"
)

// The state file: what must outlive the daemon and cannot be read from the
// kernel for certain.
const (
	stateFile    = "state.json"
	stateVersion = 1
	stateLimit   = 1 << 20 // bytes; ours has a few kilobytes
)

// state is the content of the state file.
type state struct {
	Version int   `json:"version"`
	Lanes   lanes `json:"lanes"`
	// Seen names, by uplink, the families that it was ever offered in.
	Seen map[string][]string `json:"seen"`
}

// loadState reads the state file of a folder. A missing file is an empty
// state. With an error the empty state is returned too, and the daemon runs on.
func loadState(folder string) (state, error) {
	path := filepath.Join(folder, stateFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("daemon: read state %s: %w", path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, stateLimit+1))
	if err != nil {
		return state{}, fmt.Errorf("daemon: read state %s: %w", path, err)
	}
	s, err := decodeState(data)
	if err != nil {
		return state{}, fmt.Errorf("daemon: read state %s: %w", path, err)
	}
	return s, nil
}

// decodeState takes a state file's bytes apart and refuses what this version
// could not have written.
func decodeState(data []byte) (state, error) {
	if len(data) > stateLimit {
		return state{}, fmt.Errorf("more than %d bytes", stateLimit)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, err
	}
	if s.Version != stateVersion {
		return state{}, fmt.Errorf("format version %d is not known; this swerve writes version %d", s.Version, stateVersion)
	}
	for name, n := range s.Lanes.Uplinks {
		if !n.IsUplink() {
			return state{}, fmt.Errorf("lane %d of uplink %q is not 1 to 63", n, name)
		}
	}
	for name, n := range s.Lanes.Policies {
		if !n.IsPolicy() {
			return state{}, fmt.Errorf("lane %d of policy %q is not 64 to 126", n, name)
		}
	}
	return s, nil
}

// save writes the state file whole or not at all. A file that could not be
// read before is kept beside it, with ".bad" at its end.
func (s state) save(folder string, keepBad bool) error {
	path := filepath.Join(folder, stateFile)
	if err := s.write(folder, path, keepBad); err != nil {
		return fmt.Errorf("daemon: write state %s: %w", path, err)
	}
	return nil
}

func (s state) write(folder, path string, keepBad bool) error {
	s.Version = stateVersion
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(folder, stateFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails once it has its final name
	_, err = temporary.Write(append(data, '\n'))
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if keepBad {
		if err := os.Rename(path, path+".bad"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(temporary.Name(), path)
}

// seen reports whether the uplink was ever offered in the family.
func (s state) seen(uplink string, f failover.Family) bool {
	return slices.Contains(s.Seen[uplink], f.String())
}

// withSeen returns the state with the families added that the view has seen,
// and whether that changed anything.
func (s state) withSeen(view failover.View) (state, bool) {
	changed := false
	seen := maps.Clone(s.Seen)
	if seen == nil {
		seen = map[string][]string{}
	}
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			if u.Family[f].Seen && !s.seen(u.Name, f) {
				seen[u.Name] = append(slices.Clone(seen[u.Name]), f.String())
				changed = true
			}
		}
	}
	s.Seen = seen
	return s, changed
}
