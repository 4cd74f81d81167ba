package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

func sampleState() state {
	return state{
		Version: stateVersion,
		Lanes: lanes{
			Uplinks:  map[string]lane.Lane{"fiber": 1, "lte": 2},
			Policies: map[string]lane.Lane{"default": 64},
		},
		Seen: map[string][]string{"fiber": {"ipv4", "ipv6"}},
	}
}

func TestStateRoundTrip(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "not", "there", "yet")
	if got, err := loadState(folder); err != nil || got.Lanes.Uplinks != nil {
		t.Fatalf("a missing file is an empty state: %v, %v", got, err)
	}
	if err := sampleState().save(folder, false); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(folder)
	if err != nil || !reflect.DeepEqual(got, sampleState()) {
		t.Errorf("read back %v, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func TestBadStateIsRefusedAndKept(t *testing.T) {
	for name, c := range map[string]struct{ content, complaint string }{
		"not JSON":      {"hello", "invalid character"},
		"newer":         {`{"version":2}`, "format version 2"},
		"lane too high": {`{"version":1,"lanes":{"uplinks":{"fiber":64}}}`, `uplink "fiber"`},
		"policy lane":   {`{"version":1,"lanes":{"policies":{"guests":3}}}`, `policy "guests"`},
		"too large":     {strings.Repeat("x", stateLimit+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, stateFile)
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := loadState(folder)
			if err == nil || !strings.Contains(err.Error(), c.complaint) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, c.complaint)
			}
			if !reflect.DeepEqual(got, state{}) {
				t.Errorf("half of a bad state was taken: %v", got)
			}
			if err := sampleState().save(folder, true); err != nil {
				t.Fatal(err)
			}
			if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != c.content {
				t.Errorf("the bad file was not kept: %v", err)
			}
		})
	}
}

func TestStateSavedWhole(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sampleState().save(filepath.Join(file, "below"), false); err == nil {
		t.Error("a folder below a file was made")
	}
}

func TestWithSeen(t *testing.T) {
	view := failover.View{Uplinks: []failover.UplinkView{{Name: "fiber"}, {Name: "lte"}}}
	view.Uplinks[1].Family[failover.IPv6].Seen = true
	got, changed := sampleState().withSeen(view)
	if !changed || !got.seen("lte", failover.IPv6) || got.seen("lte", failover.IPv4) || !got.seen("fiber", failover.IPv4) {
		t.Errorf("changed %v, seen %v", changed, got.Seen)
	}
	if _, again := got.withSeen(view); again {
		t.Error("nothing new, and yet changed")
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"version":1,"lanes":{"uplinks":{"fiber":1},"policies":{"default":64}},"seen":{"fiber":["ipv4"]}}`))
	f.Add([]byte(`{"version":1,"lanes":{"uplinks":{"fiber":300}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeState(data)
		if err != nil {
			return
		}
		for name, n := range s.Lanes.Uplinks {
			if !n.IsUplink() {
				t.Errorf("uplink %q was let in with lane %d", name, n)
			}
		}
	})
}
