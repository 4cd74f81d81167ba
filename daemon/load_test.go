package daemon

import (
	"fmt"
	"maps"
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
)

// overflowing is a configuration that overflows from fiber to lte.
const overflowing = `
uplinks:
  - {name: fiber, interface: eth0, rate: {down: 80mbit, up: 8mbit}}
  - {name: lte, interface: eth1}
policies: [{name: default, overflow: 85%}]
`

// lineLoad is what eth0 carries, changed in virtual time, and how often it was read.
type lineLoad struct {
	r        *rig
	mu       sync.Mutex // several tasks of the daemon read
	down, up float64    // bits a second
	rx, tx   float64
	since    time.Time
	reads    map[int]int
	err      error
}

func newLineLoad(r *rig) *lineLoad {
	l := &lineLoad{r: r, since: time.Now(), reads: map[int]int{}}
	r.bytes = l.read
	return l
}

func (l *lineLoad) set(down, up float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count()
	l.down, l.up = down, up
}

func (l *lineLoad) count() {
	s := time.Since(l.since).Seconds()
	l.rx, l.tx, l.since = l.rx+s*l.down/8, l.tx+s*l.up/8, time.Now()
}

func (l *lineLoad) read(index int) (rx, tx uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads[index]++
	if index != 1 {
		return 7, 7, nil
	}
	l.count()
	return uint64(l.rx), uint64(l.tx), l.err
}

func (l *lineLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// readsIn returns how often each interface is read within a minute.
func readsIn(r *rig, l *lineLoad) map[int]int {
	l.mu.Lock()
	l.reads = map[int]int{}
	l.mu.Unlock()
	r.after(time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.reads)
}

// wantOverflow fails unless new flows go by these devices in both families, and the
// status says so.
func (r *rig) wantOverflow(overflows bool, devices ...int) {
	r.t.Helper()
	r.wantLadder(devices...)
	p := r.status().Policies[0]
	if (p.Overflowing != control.ByFamily{IPv4: overflows, IPv6: overflows}) || p.IPv4[0].Uplink != "fiber" {
		r.t.Errorf("status %+v, want overflowing %v", p, overflows)
	}
	if want := map[bool]int{true: 1, false: 0}[overflows]; len(p.OverflowTo.IPv4) != want || len(p.OverflowTo.IPv6) != want {
		r.t.Errorf("overflow to %+v", p.OverflowTo)
	}
}

// A full first tier overflows, in the kernel, in the status and in events, and no switch
// is counted. A restart and a reload move nothing meanwhile.
func TestOverflow(t *testing.T) {
	inBubble(t, overflowing, func(t *testing.T, r *rig) {
		l := newLineLoad(r)
		r.start()
		r.after(time.Minute)
		r.wantOverflow(false, 1, 2)
		l.set(75e6, 1e6)
		r.take()
		took := r.until("an overflow", 10*time.Second, func() bool { return r.status().Policies[0].Overflowing.IPv4 })
		if took < 2*time.Second || took > 3500*time.Millisecond {
			t.Errorf("it overflows after %v", took)
		}
		r.wantOverflow(true, 2, 1)
		events := ofType(r.take(), control.EventOverflow)
		if len(events) != 2 {
			t.Fatalf("events %+v", events)
		}
		d := events[0].Detail.(control.OverflowDetail)
		share := d.Loads[0].Share
		d.Loads[0].Share = nil
		if want := (control.OverflowDetail{Action: "begin", Policy: "default", Family: "ipv4", From: []string{"fiber"}, To: []string{"lte"},
			Reason: d.Reason, Limit: 0.85, Loads: []control.TierLoad{{Uplinks: []string{"fiber"}, Direction: "down", Full: true}}}); !reflect.DeepEqual(d, want) ||
			*share < 0.93 || *share > 0.945 || !strings.HasSuffix(d.Reason, " of its rate down, limit 85%") {
			t.Errorf("event %+v with a share of %v, want %+v", d, *share, want)
		}
		if down, up := *r.uplink("fiber").Rate.DownBPS, *r.uplink("fiber").Rate.UpBPS; down != 80e6 || up != 8e6 || r.uplink("lte").Rate != nil {
			t.Errorf("rates %d, %d", down, up)
		}

		r.restart()
		r.wantOverflow(true, 2, 1)
		r.after(time.Minute)
		r.wantOverflow(true, 2, 1)
		r.wantQuiet("after a restart")
		r.file = strings.Replace(r.file, "{name: lte,", "{name: mobile,", 1)
		if err := r.api().Reload(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r.after(20 * time.Second)
		r.wantOverflow(true, 2, 1)

		l.set(1e6, 1e6)
		took = r.until("the end", 20*time.Second, func() bool { return !r.status().Policies[0].Overflowing.IPv4 })
		if took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it ends after %v", took)
		}
		r.wantOverflow(false, 1, 2)
		events = r.take()
		if n := len(ofType(events, control.EventSwitch)); n > 0 || r.status().SwitchesTotal > 0 {
			t.Errorf("%d switches: %+v", n, events)
		}
		if over := ofType(events, control.EventOverflow); len(over) != 2 || over[1].Detail.(control.OverflowDetail).Action != "end" {
			t.Errorf("events %+v", over)
		}
	})
}

// What takes the overflow becomes what carries without a change in the kernel, and the
// switch is reported at once.
func TestOverflowThenFailover(t *testing.T) {
	inBubble(t, overflowing, func(t *testing.T, r *rig) {
		l := newLineLoad(r)
		r.start()
		r.after(time.Minute)
		l.set(75e6, 1e6)
		r.after(10 * time.Second)
		r.wantOverflow(true, 2, 1)
		r.take()
		l.set(0, 0)
		r.blackHole("eth0", true, both...)
		r.until("shunned", 5*time.Second, r.isIn("fiber", control.Shunned))
		// For a moment after the line was full it seemed to be a queue.
		r.until("a switch", 700*time.Millisecond, func() bool { return r.status().SwitchesTotal > 0 })
		if s := r.status(); s.SwitchesTotal != 2 || s.LastSwitch == nil || s.LastSwitch.SwitchMS == nil {
			t.Errorf("%d switches, the last %+v", s.SwitchesTotal, s.LastSwitch)
		}
		r.wantLadder(2, 1)
	})
}

// Counters are read for the engine only where a policy overflows, and only of uplinks with
// a rate. Those of an interface that cannot be read end an overflow.
func TestLoadsAreReadWhereTheyMatter(t *testing.T) {
	inBubble(t, strings.Replace(overflowing, "85%", "never", 1), func(t *testing.T, r *rig) {
		l := newLineLoad(r)
		r.start()
		r.after(10 * time.Second)
		if n := readsIn(r, l); n[1]+n[2] > 62 {
			t.Errorf("%v readings in a minute without overflow", n)
		}
		r.file = strings.Replace(r.file, "never", "85%", 1)
		if err := r.api().Reload(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if n := readsIn(r, l); n[1] < 200 || n[1] > 280 || n[2] > 31 {
			t.Errorf("readings in a minute: %v", n)
		}
		l.set(75e6, 0)
		r.after(10 * time.Second)
		r.wantOverflow(true, 2, 1)
		l.fail(fmt.Errorf("gone"))
		r.after(40 * time.Second)
		r.wantOverflow(false, 1, 2)
	})
}

// What is remembered of an overflow is only taken up where the kernel holds it.
func TestOverflowIsAdopted(t *testing.T) {
	all := overflows{"default": {"ipv4": {From: []string{"fiber"}, To: []string{"lte", "cable"}}}}
	for name, c := range map[string]struct {
		carrying, want, over []string
	}{
		"as it is":       {[]string{"cable", "lte"}, []string{"fiber"}, []string{"lte", "cable"}},
		"by another one": {[]string{"lte"}, []string{"lte"}, nil},
		"ended since":    {[]string{"fiber"}, []string{"fiber"}, nil},
		"nothing there":  {nil, nil, nil},
	} {
		a := failover.Adopt{Carrying: map[string][2][]string{"default": {c.carrying}}}
		all.adopt(&a)
		if got, over := a.Carrying["default"][failover.IPv4], a.Overflow["default"][failover.IPv4]; !slices.Equal(got, c.want) || !slices.Equal(over, c.over) {
			t.Errorf("%s: carrying %v, overflow %v", name, got, over)
		}
	}
	now := all.renamed(map[string]string{"modem": "lte", "lte": "fiber"}, map[string]string{"main": "default"})
	if want := (overflows{"main": {"ipv4": {From: []string{"lte"}, To: []string{"modem", "cable"}}}}); !reflect.DeepEqual(now, want) {
		t.Errorf("renamed %v, want %v", now, want)
	}
}

// A restart in the middle of an overflow whose state file is lost moves nothing: new flows
// go on where they went, as by a failover that nothing is known of, and no flow is ended.
// Where the return from that is due, the overflow is known again.
func TestOverflowWithoutAStateFile(t *testing.T) {
	inBubble(t, overflowing, func(t *testing.T, r *rig) {
		l := newLineLoad(r)
		r.start()
		r.after(time.Minute)
		l.set(75e6, 1e6)
		r.until("an overflow", 10*time.Second, func() bool { return r.status().Policies[0].Overflowing.IPv4 })
		r.stop()
		if err := os.Remove(filepath.Join(r.folder(), stateFile)); err != nil {
			t.Fatal(err)
		}
		r.Journal.Take()
		r.take()
		r.start()
		r.after(20 * time.Second)
		r.wantLadder(2, 1)
		// Flows without lanes may be of before the first start, for all that is known.
		if got := r.Journal.Take(); !slices.Equal(got, []string{"adopt flows", "heal flows"}) {
			t.Errorf("after a restart the kernel was changed: %q", got)
		}
		if p := r.status().Policies[0]; p.Overflowing.IPv4 || p.IPv4[0].Uplink != "lte" {
			t.Errorf("status %+v", p)
		}
		r.until("the overflow to be known", 20*time.Second, func() bool { return r.status().Policies[0].Overflowing.IPv4 })
		r.after(time.Minute)
		r.wantOverflow(true, 2, 1)
		r.wantQuiet("when it is known again")
		told := r.take()
		if n := len(ofType(told, control.EventSessions)); n > 0 {
			t.Errorf("%d events of sessions: %+v", n, told)
		}
		if n := len(ofType(told, control.EventSwitch)); n != 2 {
			t.Errorf("%d switches, want the return in each family: %+v", n, told)
		}
		l.set(1e6, 1e6)
		r.until("the end", 20*time.Second, func() bool { return !r.status().Policies[0].Overflowing.IPv4 })
		r.wantOverflow(false, 1, 2)
	})
}
