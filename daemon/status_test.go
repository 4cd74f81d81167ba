package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/lane"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file in testdata, or rewrites that file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// asJSON returns the status as clients see it, without what differs from run to
// run, or with each change of the engine's timing.
func (r *rig) asJSON() []byte {
	s := *r.status()
	s.Daemon.PID = 1
	s.Uplinks = slices.Clone(s.Uplinks)
	for i := range s.Uplinks {
		u := &s.Uplinks[i]
		u.Counters = control.Counters{}
		u.LastProven.Time = u.LastProven.Truncate(10 * time.Second)
	}
	s.Version, s.Overall = control.Version, control.Overall(s)
	out, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		r.t.Fatal(err)
	}
	return append(out, '\n')
}

// The status of a real run, before anything is measured and long after.
func TestStatusJSON(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.change("eth1", func(l *line) { l.link.Family[failover.IPv6] = failover.FamilyLink{} })
		r.start()
		golden(t, "status-start.json", r.asJSON())
		r.after(2 * time.Minute)
		golden(t, "status-up.json", r.asJSON())
	})
}

// The last switch in the status is the newest one, with the values of its event.
func TestStatusTellsTheLastSwitch(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.after(10 * time.Second)
		switches := ofType(r.take(), control.EventSwitch)
		if s := r.status(); s.SwitchesTotal != 2 || len(switches) != 2 || !reflect.DeepEqual(s.LastSwitch.SwitchDetail, switches[1].Detail) {
			t.Errorf("status: %d, %+v; events: %+v", s.SwitchesTotal, s.LastSwitch, switches)
		}
	})
}

// A past instant is always reported as the same time.
func TestStatusKeepsItsTimes(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.after(time.Nanosecond * 999_999)
		r.start()
		r.after(3 * time.Second)
		since, up := r.status().Daemon.Since, r.uplink("fiber").IPv4.Since
		for range 100 {
			r.after(7_777_777 * time.Nanosecond)
			if now := r.status().Daemon.Since; now != since {
				t.Fatalf("since %v, and then since %v", since, now)
			}
			if now := r.uplink("fiber").IPv4.Since; now != up {
				t.Fatalf("up since %v, and then since %v", up, now)
			}
		}
	})
}

// The wall clock may be set: past instants are then reported by its new setting.
// The small delay between two readings of it must not change a reported time.
func TestClockTellsOneTime(t *testing.T) {
	begin := time.Now()
	c := clock{start: begin.Add(-time.Hour), today: time.Now}
	first := c.wall(0)
	for range 1000 {
		if again := c.wall(0); again != first {
			t.Fatalf("%v, and then %v", first, again)
		}
	}
	if off := first.Sub(begin.Add(-time.Hour).Round(0)); off.Abs() > clockSlack {
		t.Errorf("off by %v", off)
	}
	c.epoch = c.epoch.Add(-time.Minute) // as if the clock had been set since
	if again := c.wall(0); again.Sub(first).Abs() > clockSlack {
		t.Errorf("after the clock was set the time is %v, want %v", again, first)
	}
}

func TestCounters(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		if got := r.uplink("fiber"); got.RxBPS != nil || got.TxBPS != nil {
			t.Errorf("rates after one reading: %v", *got.RxBPS)
		}
		r.after(10 * time.Second)
		fiber, lte := r.uplink("fiber"), r.uplink("lte")
		if fiber.RxBPS == nil || *fiber.RxBPS != 8000 || *fiber.TxBPS != 4000 {
			t.Errorf("rates: %+v", fiber.Counters)
		}
		if fiber.NewFlows == nil || *fiber.NewFlows != 7 || lte.NewFlows != nil {
			t.Errorf("new flows: %v and %v", fiber.NewFlows, lte.NewFlows)
		}
		r.net.mu.Lock()
		asked := r.net.asked["fiber"]
		r.net.mu.Unlock()
		const ipv4, ipv6 = 2 * (20 + 8 + 24), 2 * (40 + 8 + 24) // headers and payload, both ways
		least, most := uint64(asked)*ipv4, uint64(asked)*ipv6
		if got := *fiber.ProbeBytes; got < least || got > most {
			t.Errorf("%d probes cost %d bytes", asked, got)
		}
	})
}

// A counter that restarts, or belongs to another device, yields no rate.
func TestCountersThatBeginAnew(t *testing.T) {
	c := newCounters(nil, nil)
	at := time.Now()
	c.note("fiber", sample{at: at, index: 1, rx: 1000, tx: 1000})
	c.note("fiber", sample{at: at.Add(time.Second), index: 1, rx: 2000, tx: 1500})
	if got := c.of("fiber"); got.RxBPS == nil || *got.RxBPS != 8000 || *got.TxBPS != 4000 || *got.RxBytes != 2000 {
		t.Errorf("rates: %+v", got)
	}
	for what, s := range map[string]sample{
		"smaller":        {at: at.Add(time.Second), index: 1, rx: 10, tx: 10},
		"another device": {at: at.Add(time.Second), index: 2, rx: 9000, tx: 9000},
		"the same time":  {at: at, index: 1, rx: 9000, tx: 9000},
	} {
		c := newCounters(nil, nil)
		c.note("fiber", sample{at: at, index: 1, rx: 5000, tx: 5000})
		c.note("fiber", s)
		if got := c.of("fiber"); got.RxBPS != nil || got.TxBPS != nil || *got.RxBytes != s.rx {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if got := c.of("nobody"); got.RxBytes != nil || got.NewFlows != nil {
		t.Errorf("nothing was read, and yet: %+v", got)
	}
}

// Counters that cannot be read are unknown, rather than unchanged.
func TestCountersThatCannotBeRead(t *testing.T) {
	var gone error
	c := newCounters(func(int) (uint64, uint64, error) { return 1, 1, gone },
		func() (map[lane.Lane]uint64, error) { return map[lane.Lane]uint64{1: 5}, gone })
	c.follow(map[string]failover.Link{"fiber": {Present: true, Index: 1}}, map[string]lane.Lane{"fiber": 1})
	c.sample(time.Now())
	if got := c.of("fiber"); got.NewFlows == nil || *got.NewFlows != 5 || got.RxBytes == nil {
		t.Fatalf("read: %+v", got)
	}
	gone = errors.New("gone")
	c.sample(time.Now())
	if got := c.of("fiber"); got.NewFlows != nil || got.RxBytes != nil {
		t.Errorf("reported although it cannot be read: %+v", got)
	}
}

// The time between an event and the decision on it belongs to the evidence.
func TestDecidedAt(t *testing.T) {
	change := &failover.SwitchChange{Evidence: 5 * time.Millisecond}
	health := &failover.HealthChange{Evidence: -1}
	late := decidedAt(failover.Record{At: time.Second, Switch: change}, time.Second+3*time.Millisecond)
	if late.At != time.Second+3*time.Millisecond || late.Switch.Evidence != 8*time.Millisecond || change.Evidence != 5*time.Millisecond {
		t.Errorf("a switch: %v, %+v", late.At, late.Switch)
	}
	late = decidedAt(failover.Record{At: time.Second, Health: health}, time.Second+time.Millisecond)
	if late.Health.Evidence != -1 {
		t.Errorf("without evidence: %+v", late.Health)
	}
	if early := decidedAt(failover.Record{At: time.Second, Switch: change}, 0); early.At != time.Second || early.Switch.Evidence != change.Evidence {
		t.Errorf("an event to come: %v, %+v", early.At, early.Switch)
	}
}

// Clients ask for the status from many goroutines, while the loop works.
func TestStatusIsSafeForAll(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for range 500 {
					if _, err := json.Marshal(r.api().Status()); err != nil {
						t.Error(err)
					}
					time.Sleep(3 * time.Millisecond)
				}
			})
		}
		for n := range 10 {
			r.blackHole("eth0", n%2 == 0, both...)
			if err := r.reload(twoUplinks); err != nil {
				t.Error(err)
			}
			r.after(150 * time.Millisecond)
		}
		clients.Wait()
	})
}

func TestSummary(t *testing.T) {
	var view failover.View
	if got := summary(view, true); got != "no uplink has an address and a gateway" {
		t.Errorf("without policies: %q", got)
	}
	view.Policies = []failover.PolicyView{{Name: "default"}}
	view.Policies[0].Family[failover.IPv4] = []failover.Share{{Uplink: "lte", Weight: 1}, {Uplink: "sat", Weight: 1}}
	view.Uplinks = []failover.UplinkView{{Name: "fiber"}, {Name: "lte"}}
	view.Uplinks[0].Family[failover.IPv4].State = failover.Down
	view.Uplinks[1].Family[failover.IPv6].State = failover.Degraded
	if got, want := summary(view, true), "ipv4 by lte and sat, fiber down in ipv4, lte degraded in ipv6"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if strings.Contains(summary(view, true), "\n") {
		t.Error("the summary must be one line")
	}
	if got, want := summary(view, false), "watching only, nothing is changed, fiber down in ipv4, lte degraded in ipv6"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
