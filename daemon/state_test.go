package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"swerve/control"
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
		Seen:     map[string][]string{"fiber": {"ipv4", "ipv6"}},
		Patience: patiences{"lte": {"ipv4": {MS: 1000, Since: time.Unix(1_900_000_000, 0).UTC()}}},
		Silences: stalls{"lte": {"ipv4": {{230 * time.Millisecond, 90 * time.Millisecond}, {}}}},
		LastSwitch: &control.Switch{
			Time:         control.At(time.Unix(1_900_000_000, 0).UTC()),
			SwitchDetail: control.SwitchDetail{Policy: "default", Family: "ipv4", Kind: "failover", From: control.List[string]{"fiber"}, To: control.List[string]{"lte"}},
		},
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
		"patience":      {`{"version":1,"patience":{"lte":{"ipv4":{"ms":2001}}}}`, `uplink "lte"`},
		"silences":      {`{"version":1,"silences":{"lte":{"ipv4":["1 2"]}}}`, `"1 2"`},
		"silence":       {`{"version":1,"silences":{"lte":{"ipv4":["9000000 2 1"]}}}`, `"9000000"`},
		"hours":         {`{"version":1,"silences":{"lte":{"ipv4":[` + strings.Repeat(`"0 0 0",`, 25) + `"0 0 0"]}}}`, `uplink "lte"`},
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

func TestWithView(t *testing.T) {
	today := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	now := setup{engine: failover.Config{Uplinks: []failover.Uplink{
		{Name: "fiber", Health: failover.Health{Patience: 500 * time.Millisecond}},
		{Name: "lte", Health: failover.Health{Patience: 500 * time.Millisecond}},
	}}}
	view := failover.View{Uplinks: []failover.UplinkView{{Name: "fiber"}, {Name: "lte"}}}
	view.Uplinks[0].Family[failover.IPv4].Raised = 500 * time.Millisecond // as configured
	view.Uplinks[0].Family[failover.IPv4].Silences = []failover.Hour{{80 * time.Millisecond}}
	view.Uplinks[1].Family[failover.IPv6].Seen = true
	view.Uplinks[1].Family[failover.IPv6].Raised = 2 * time.Second
	view.Uplinks[0].Family[failover.IPv4].Lapses = time.Second
	before := sampleState()
	got := before.withView(view, now, today)
	if !got.seen("lte", failover.IPv6) || got.seen("lte", failover.IPv4) || !got.seen("fiber", failover.IPv4) {
		t.Errorf("seen %v", got.Seen)
	}
	if !reflect.DeepEqual(got.Lapses, patiences{"fiber": {"ipv4": {MS: 1000, Since: today}}}) {
		t.Errorf("patience with gaps %v", got.Lapses)
	}
	want := patiences{"lte": {"ipv6": {MS: 2000, Since: today}}}
	if !reflect.DeepEqual(got.Patience, want) {
		t.Errorf("patience %v, want %v", got.Patience, want)
	}
	if want := (stalls{"fiber": {"ipv4": {{80 * time.Millisecond}}}}); !reflect.DeepEqual(got.Silences, want) {
		t.Errorf("silences %v, want %v", got.Silences, want)
	}
	if !reflect.DeepEqual(before, sampleState()) {
		t.Error("the state before was changed")
	}
	if again := got.withView(view, now, today.Add(time.Hour)); !reflect.DeepEqual(again, got) {
		t.Errorf("nothing new, and yet %+v", again)
	}
	view.Uplinks[1].Family[failover.IPv6].Raised = 500 * time.Millisecond
	if forgotten := got.withView(view, now, today); forgotten.Patience != nil {
		t.Errorf("patience that was forgotten is kept: %v", forgotten.Patience)
	}
}

// Learned patience halves each month, whether the daemon runs or not.
func TestLearntPatience(t *testing.T) {
	today := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]time.Duration{
		0:                          2 * time.Second,
		forgetting - time.Second:   2 * time.Second,
		forgetting:                 time.Second,
		3*forgetting + time.Second: 250 * time.Millisecond,
		-time.Hour:                 2 * time.Second, // the wall clock was not set yet
		100 * 365 * 24 * time.Hour: 0,
	} {
		s := state{Patience: patiences{"lte": {"ipv4": {MS: 2000, Since: today.Add(-ago)}}}}
		got := s.Patience.after(today)["lte"]
		if got[failover.IPv4].Truncate(time.Millisecond) != want || got[failover.IPv6] != 0 {
			t.Errorf("%v ago: %v, want %v", ago, got, want)
		}
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
		for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			s.Patience.after(at)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := decodeState(again); len(again) <= stateLimit && err != nil {
			t.Errorf("what was read and written is not read again: %v\n%s", err, again)
		}
	})
}

// The last switch of all runs is reported after a restart; the count is that of
// this run.
func TestLastSwitchOutlivesTheDaemon(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 10*time.Second, r.isIn("fiber", control.Down))
		before := r.status().LastSwitch
		r.restart()
		r.after(time.Second)
		s := r.status()
		if before == nil || s.LastSwitch == nil || s.LastSwitch.Reason != before.Reason || !reflect.DeepEqual(s.LastSwitch.To, before.To) {
			t.Fatalf("the last switch is %+v, was %+v", s.LastSwitch, before)
		}
		if d := s.LastSwitch.Time.Sub(before.Time.Time).Abs(); d > 20*time.Millisecond {
			t.Errorf("its time moved by %v", d)
		}
		if s.SwitchesTotal != 0 {
			t.Errorf("%d switches of this run", s.SwitchesTotal)
		}
	})
}
