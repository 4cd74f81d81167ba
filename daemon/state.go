package daemon

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// The state file: what must outlive the daemon and cannot be read reliably from the
// kernel.
const (
	stateFile    = "state.json"
	stateVersion = 1
	stateLimit   = 1 << 20 // bytes; a normal one has a few kilobytes
)

// state is the content of the state file. It is a value: its maps are replaced,
// never changed.
type state struct {
	Version int   `json:"version"`
	Lanes   lanes `json:"lanes"`
	// MarkMask is the mask under which the lanes are in marks; 0 before the first start.
	MarkMask uint32 `json:"mark_mask,omitempty"`
	// UsedMarks are the bits of marks that other programs use, or have used.
	UsedMarks []usedBits `json:"used_marks,omitempty"`
	// Seen has, by uplink, the families that it has ever been offered in.
	Seen map[string][]string `json:"seen"`
	// Native are the networks that were found native, by uplink.
	Native natives `json:"native,omitempty"`
	// Proven are those of Native that probes have proven.
	Proven natives `json:"proven,omitempty"`
	// Plain are the flows found without NAT to networks with routes of their own, by uplink.
	Plain plains `json:"plain,omitempty"`
	// Auto are the interfaces accepted under `uplinks: auto`, the preferred one
	// first.
	Auto []autoUplink `json:"auto,omitempty"`
	// Patience is what was learned from stalls beyond the configured patience, Lapses
	// what was learned from addresses that were missing.
	Patience patiences `json:"patience,omitempty"`
	Lapses   patiences `json:"lapses,omitempty"`
	// Silences are the longest of the last day with evidence.
	Silences stalls `json:"silences,omitempty"`
	// Holds is what uplinks owe.
	Holds debts `json:"holds,omitempty"`
	// Overflows are those that go on.
	Overflows overflows `json:"overflows,omitempty"`
	// Departures are the uplinks that are drained after failbacks.
	Departures departures `json:"departures,omitempty"`
	// Foreign has the interfaces of default routes in main that are no uplinks' and
	// stood at the first start (true), and those that were uplinks (false); nil before
	// the first start.
	Foreign map[string]bool `json:"foreign"`
	// Overrides are what the operator has commanded.
	Overrides overrides `json:"overrides,omitempty"`
	// LastSwitch is the last switch of all runs; nil until there was one.
	LastSwitch *control.Switch `json:"last_switch,omitempty"`
}

// patiences are learned ones, by uplink and family.
type patiences map[string]map[string]learnt

// learnt is a learned patience.
type learnt struct {
	// MS is the patience in milliseconds.
	MS int64 `json:"ms"`
	// Since is when it was learned, or last halved, by the wall clock.
	Since time.Time `json:"since"`
}

// loadState reads the state file of a folder. A missing file yields an empty state.
// With an error the empty state is returned as well, and the daemon continues.
func loadState(folder string) (state, error) {
	path := filepath.Join(folder, stateFile)
	file, err := control.OpenRegular(path, os.O_RDONLY)
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

// decodeState parses a state file and rejects one that this version could not have
// written.
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
	if len(s.Auto) > autoMost {
		return state{}, fmt.Errorf("%d interfaces of uplinks: auto, more than %d", len(s.Auto), autoMost)
	}
	if _, ok := lane.DefaultLayout.WithMarkMask(s.MarkMask); s.MarkMask != 0 && !ok {
		return state{}, fmt.Errorf("mark_mask %#x cannot hold the lanes", s.MarkMask)
	}
	if len(s.UsedMarks) > mostUsedMarks {
		return state{}, fmt.Errorf("%d uses of marks, more than %d", len(s.UsedMarks), mostUsedMarks)
	}
	if len(s.Foreign) > mostForeign {
		return state{}, fmt.Errorf("%d interfaces of default routes, more than %d", len(s.Foreign), mostForeign)
	}
	if err := cmp.Or(s.Native.check(netip.Prefix.IsValid), s.Proven.check(netip.Prefix.IsValid), s.Plain.check(firewall.Ends.IsValid)); err != nil {
		return state{}, err
	}
	if err := cmp.Or(s.Patience.check(), s.Lapses.check(), s.Silences.check(), s.Holds.check(), s.Overrides.check(), s.Departures.check()); err != nil {
		return state{}, err
	}
	return s, nil
}

func (all patiences) check() error {
	for name, families := range all {
		for family, p := range families {
			if p.MS < 0 || p.MS > mostLearnt.Milliseconds() {
				return fmt.Errorf("patience %d ms of uplink %q in %s is not 0 to %d", p.MS, name, family, mostLearnt.Milliseconds())
			}
		}
	}
	return nil
}

// save writes the state file atomically. A file that could not be read before is
// kept beside it, with the suffix ".bad".
func (s state) save(folder string, keepBad bool) error {
	path := filepath.Join(folder, stateFile)
	if err := s.write(folder, keepBad); err != nil {
		return fmt.Errorf("daemon: write state %s: %w", path, err)
	}
	return nil
}

func (s state) write(folder string, keepBad bool) error {
	s.Version = stateVersion
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(folder, stateFile, append(data, '\n'), keepBad)
}

// replaceFile writes a file of a folder atomically. With keepBad the present one is kept
// beside it, with the suffix ".bad".
func replaceFile(folder, name string, data []byte, keepBad bool) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(folder, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails once the file has its final name
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	path := filepath.Join(folder, name)
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

// withView returns the state with the view's additions: the families that were
// offered, the learned patience, and what uplinks owe.
func (s state) withView(view failover.View, now setup, today time.Time) state {
	seen := maps.Clone(s.Seen)
	if seen == nil {
		seen = map[string][]string{}
	}
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			if u.Family[f].Seen && !s.seen(u.Name, f) {
				seen[u.Name] = append(slices.Clone(seen[u.Name]), f.String())
			}
		}
	}
	s.Seen = seen
	s.Patience = s.Patience.updated(view, now, today, func(f failover.FamilyView) time.Duration { return f.Raised })
	s.Lapses = s.Lapses.updated(view, now, today, func(f failover.FamilyView) time.Duration { return f.Lapses })
	s.Silences = silencesOf(view)
	s.Holds = s.Holds.updated(view, today)
	s.Overflows = overflowsOf(view)
	return s
}

// updated returns what the view has beyond the configured patience; nil for nothing.
func (all patiences) updated(view failover.View, now setup, today time.Time, of func(failover.FamilyView) time.Duration) patiences {
	var out patiences
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			p := of(u.Family[f])
			if p <= now.patience(u.Name) {
				continue
			}
			if out == nil {
				out = patiences{}
			}
			if out[u.Name] == nil {
				out[u.Name] = map[string]learnt{}
			}
			entry := learnt{MS: p.Milliseconds(), Since: storedTime(today)}
			if before, ok := all[u.Name][f.String()]; ok && before.MS == entry.MS {
				entry.Since = before.Since
			}
			out[u.Name][f.String()] = entry
		}
	}
	return out
}

// Learned patience decays as in the engine, even while the daemon does not run: it
// halves with each month that passes without another stall.
const (
	mostLearnt = 2 * time.Second
	forgetting = 30 * 24 * time.Hour
)

// after returns what remains of the learned patience, by uplink and family. A
// time in the future, recorded before the wall clock was set, counts as now.
func (all patiences) after(today time.Time) map[string][2]time.Duration {
	out := map[string][2]time.Duration{}
	for name, families := range all {
		var both [2]time.Duration
		for _, f := range failover.Families {
			if p, ok := families[f.String()]; ok {
				months := min(max(0, today.Sub(p.Since)/forgetting), 16)
				both[f] = time.Duration(p.MS) * time.Millisecond >> months
			}
		}
		out[name] = both
	}
	return out
}

// storedTime returns a wall time as the state file keeps it: in UTC, to the second,
// without a monotonic reading, so that it is equal to itself once read back.
func storedTime(t time.Time) time.Time { return t.Round(0).UTC().Truncate(time.Second) }
