package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/lane"
	"swerve/routing"
	"swerve/testenv/fake"
)

// rig is a daemon on a fake machine, to be used within a synctest bubble.
// Everything but the machine is the same as in Run.
type rig struct {
	*fake.Kernel
	t      testing.TB
	net    *fakeNet
	hangup chan os.Signal
	// set is the offset of the wall clock, in nanoseconds.
	set atomic.Int64
	// boot is the machine's present one; see reboot.
	boot boot
	// file is the text of the configuration file, path where a reload finds it.
	file, path string

	loop *loop
	stop func()
	// modem reports whether an interface is a modem's; nil if there are none.
	modem func(device string) bool
	// told is called with each event when it is published; it may be nil.
	told func(control.Event)
	log  bytes.Buffer // to be read while the loop waits
	// interfaces are the names of all interfaces; it may be nil.
	interfaces func() ([]string, error)
	// rescued and sessions are those of Machine; they may be nil.
	rescued  func([]lane.Lane) (map[lane.Lane][2]int, error)
	sessions func() SessionCounts
	// bytes reads an interface's counters in place of interfaceBytes; it may be nil.
	bytes func(index int) (rx, tx uint64, err error)

	mu     sync.Mutex
	events []control.Event
}

// twoUplinks is a configuration of two uplinks, with a folder for the state.
const twoUplinks = `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: eth1}
`

// newRig returns a machine with eth0 to eth2, without a daemon yet.
func newRig(t testing.TB, file string) *rig {
	r := &rig{
		t: t, net: newFakeNet(), path: "swerve.yaml", hangup: make(chan os.Signal, 1),
		file: fmt.Sprintf("state: %s\n%s", t.TempDir(), file),
	}
	r.reboot("first")
	for i, name := range []string{"eth0", "eth1", "eth2"} {
		r.net.lines[name] = newLine(name, i+1)
	}
	r.emptyKernel()
	return r
}

// emptyKernel gives the machine a kernel that holds nothing of ours, as after a boot.
func (r *rig) emptyKernel() {
	r.Kernel = fake.NewKernel(func() { fake.Poke(r.net.repair) })
	r.net.bound = func(device string) bool { return r.Routes.Keeps(device) > 0 }
	for i := range r.net.lines {
		r.Routes.On[r.net.lines[i].link.Index] = true
	}
}

// inBubble runs a test of a rig in virtual time. The daemon that runs at the end is
// stopped, and a goroutine that it leaves behind fails the test.
func inBubble(t *testing.T, file string, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, file)
		t.Cleanup(func() {
			if r.stop != nil {
				r.stop()
			}
			if len(r.net.wrong) > 0 {
				t.Errorf("probes by a wrong way: %s", r.net.wrong)
			}
			if t.Failed() {
				t.Logf("the daemon's log:\n%s", r.log.String())
			}
		})
		test(t, r)
	})
}

func (r *rig) load() (*config.Config, []config.Problem) {
	return config.Parse("swerve.yaml", []byte(r.file))
}

// start starts a daemon on the machine, and waits until it has finished its
// immediate work.
func (r *rig) start() {
	r.t.Helper()
	r.prepare()
	ctx, cancel := context.WithCancel(r.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.loop.work(ctx, tasks{}); err != nil {
			r.t.Errorf("the daemon ended: %v", err)
		}
	})
	r.stop = func() { cancel(); done.Wait(); r.stop = nil }
	synctest.Wait()
}

// prepare creates the daemon, and has it read what an earlier one left.
func (r *rig) prepare() {
	r.t.Helper()
	var cfg *config.Config
	log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	load := func() (*config.Config, string, []config.Problem) {
		cfg, found := r.load()
		return cfg, r.path, found
	}
	today := func() time.Time { return time.Now().Add(time.Duration(r.set.Load())) }
	began := begin(load, &clock{today: today, boot: r.boot})
	if cfg = began.cfg; len(began.found) > 0 {
		r.t.Fatalf("the start's configuration: %v", began.found)
	}
	l := newLoop(Options{Software: "test", Hangup: r.hangup, Log: log}, cfg, began.path)
	l.load, l.found, l.clock.today, l.clock.boot = load, began, today, r.boot
	l.mount(Machine{
		Network: r.net, Routes: r.Routes, Packets: r.Packets, Sysctls: r.Sysctls, Flows: r.Flows, Walks: r.Flows,
		HasIPv6: func() bool { return true }, Bytes: r.interfaceBytes, NewFlows: r.flowsByLane,
		FilterChanged: r.Packets.Changed, Events: r, IsModem: r.modem, Interfaces: r.interfaces,
		Rescued: r.rescued, Sessions: r.sessions,
	})
	r.net.mu.Lock() // answers of the run before may still come
	r.net.clock, r.net.watched = l.clock.now, nil
	r.net.mu.Unlock()
	r.net.Take()
	if err := l.open(cfg); err != nil {
		r.t.Fatalf("start: %v", err)
	}
	r.loop = l
}

// reboot begins another boot, for the next start. The kernel keeps what it has.
func (r *rig) reboot(name string) {
	begin := time.Now()
	r.boot = boot{name: name, uptime: func() time.Duration { return time.Since(begin) + time.Second }}
}

// api is what clients ask.
func (r *rig) api() backend { return backend{r.loop} }

// restart ends the daemon and starts another one on the state that it left.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.Journal.Take()
	r.take()
	r.start()
}

// Publish implements Publisher. Each event has to fit on the wire.
func (r *rig) Publish(e control.Event) {
	if _, err := json.Marshal(e); err != nil {
		r.t.Errorf("an event that cannot be encoded: %v", err)
	}
	if r.told != nil {
		r.told(e)
	}
	if e.Time.IsZero() {
		e.Time = control.At(time.Now())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the events since the last take.
func (r *rig) take() []control.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// ofType returns the events of a type.
func ofType(events []control.Event, kind control.EventType) []control.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e control.Event) bool { return e.Type() != kind })
}

// after advances the virtual time.
func (r *rig) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until advances the virtual time until a condition holds, and returns how long
// that took, to a millisecond or a five-thousandth of the limit.
func (r *rig) until(what string, limit time.Duration, so func() bool) time.Duration {
	r.t.Helper()
	begin, step := time.Now(), max(time.Millisecond, limit/5000)
	for !so() {
		if time.Since(begin) > limit {
			r.t.Fatalf("%s: not within %v", what, limit)
		}
		r.after(step)
	}
	return time.Since(begin)
}

func (r *rig) interfaceBytes(index int) (rx, tx uint64, err error) {
	if r.bytes != nil {
		return r.bytes(index)
	}
	// 1000 bytes a second in, 500 out, since the bubble began.
	ms := uint64(time.Now().UnixMilli() - 946684800000)
	return ms + uint64(index), ms / 2, nil
}

func (r *rig) flowsByLane() (map[lane.Lane]uint64, error) {
	return map[lane.Lane]uint64{1: 7}, nil
}

// status returns the status that clients get now.
func (r *rig) status() *control.Status { return r.api().Status() }

// uplink returns one uplink's part of the status.
func (r *rig) uplink(name string) control.Uplink {
	r.t.Helper()
	for _, u := range r.status().Uplinks {
		if u.Name == name {
			return u
		}
	}
	r.t.Fatalf("no uplink %s in the status", name)
	return control.Uplink{}
}

// problem returns the standing problem with a code; nil if there is none.
func (r *rig) problem(code string) *control.Problem {
	for _, p := range r.status().Problems {
		if p.Code == code {
			return &p
		}
	}
	return nil
}

// isIn reports whether the uplink is in a state in both families.
func (r *rig) isIn(uplink string, s control.State) func() bool {
	return func() bool {
		u := r.uplink(uplink)
		return u.IPv4.State == s && u.IPv6.State == s
	}
}

// change changes a line, and with it the kernel's device.
func (r *rig) change(name string, how func(*line)) {
	r.net.change(name, func(l *line) {
		before := l.link
		how(l)
		if now := l.link; before.Index != now.Index || before.AdminUp != now.AdminUp {
			r.Routes.Device(before.Index, false)
			r.Routes.Device(now.Index, now.Present && now.AdminUp)
		}
	})
	synctest.Wait()
}

// blackHole makes a line silent, or lets it answer again.
func (r *rig) blackHole(name string, black bool, families ...failover.Family) {
	r.change(name, func(l *line) {
		for _, f := range families {
			l.black[f] = black
		}
	})
}

// both families, for blackHole.
var both = failover.Families[:]

// wantLadder fails unless the default policy's ladders are these devices in both
// families, in the policy's table and mirrored in main.
func (r *rig) wantLadder(devices ...int) {
	r.t.Helper()
	for _, f := range failover.Families {
		for _, table := range []int{5364, routing.MainTable} {
			if got := r.Routes.Ladder(f, table); !slices.Equal(got, devices) {
				r.t.Errorf("%s ladder of table %d: devices %v, want %v", f, table, got, devices)
			}
		}
	}
}

// wantQuiet fails if the kernel was changed since the last check.
func (r *rig) wantQuiet(when string) {
	r.t.Helper()
	if lines := r.Journal.Take(); len(lines) > 0 {
		r.t.Errorf("%s the kernel was changed:\n%s", when, strings.Join(lines, "\n"))
	}
}
