package linkmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"swerve/failover"
)

// trafficFile has the counters of all interfaces of the namespace of the thread
// that opens it: proc_pid_net(5). Reading it takes no lock that changes of links
// or routes hold.
const trafficFile = "/proc/thread-self/net/dev"

const (
	// trafficBuffer holds about forty interfaces at first; it grows to the limit,
	// beyond which the last interfaces are not looked at.
	trafficBuffer      = 8 << 10
	trafficBufferLimit = 1 << 20
	// trafficShare is how many times as long as a reading the pause after it is at
	// least, where there are very many interfaces.
	trafficShare = 20
)

// traffic looks at the packets that pass the uplinks, and gives a hint where they
// leave one and nothing comes back.
type traffic struct {
	file   *os.File
	buffer []byte
	clock  func() failover.Instant
	links  func() []Status
	out    *outbox
	log    *slog.Logger
	pulses map[string]*pulse // by interface
}

// openTraffic opens the counters in the calling thread's namespace. Where that
// fails there are no hints, and probes alone tell of a silence.
func openTraffic(o Options, links func() []Status, out *outbox) *traffic {
	file, err := os.Open(trafficFile)
	if err != nil {
		o.Log.Warn("passing traffic gives no hints", "err", err)
	}
	return &traffic{
		file: file, buffer: make([]byte, trafficBuffer), clock: o.Clock, links: links, out: out, log: o.Log,
		pulses: map[string]*pulse{},
	}
}

func (t *traffic) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// run looks until ctx ends.
func (t *traffic) run(ctx context.Context) {
	if t.file == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		pause, err := t.look()
		if err != nil {
			t.log.Warn("passing traffic gives no hints for a while", "err", err)
			pause = retryAfter
		}
		timer.Reset(pause)
	}
}

// look takes a sample of each uplink's interface, and returns the pause until the
// next.
func (t *traffic) look() (time.Duration, error) {
	at := t.clock()
	table, err := t.read()
	if err != nil {
		return 0, err
	}
	pause := idleEvery
	links := t.links()
	for _, s := range links {
		if now, ok := packetsOf(table, s.Link.Interface); ok && t.feel(s.Uplink, s.Link.Interface, at, now) {
			pause = busyEvery
		}
	}
	t.forget(links)
	return max(pause, trafficShare*(t.clock()-at)), nil
}

// feel takes in an uplink's sample, gives the hint where there is one, and reports
// whether the interface is busy.
func (t *traffic) feel(uplink, name string, at failover.Instant, now packets) bool {
	p := t.pulses[name]
	if p == nil {
		p = newPulse(at, now)
		t.pulses[name] = p
	}
	if unanswered, silent := p.sample(at, now); silent {
		for _, family := range failover.Families {
			t.out.put(Observation{At: at, Event: failover.Traffic{
				Uplink: uplink, Family: family, Unanswered: unanswered, Received: -1,
			}})
		}
	}
	return p.busy()
}

// forget drops what is known of interfaces that are no uplink's any more.
func (t *traffic) forget(links []Status) {
	maps.DeleteFunc(t.pulses, func(name string, _ *pulse) bool {
		return !slices.ContainsFunc(links, func(s Status) bool { return s.Link.Interface == name })
	})
}

// read returns the table of counters as text, good until the next read.
func (t *traffic) read() ([]byte, error) {
	for {
		n, err := t.file.ReadAt(t.buffer, 0)
		switch {
		case errors.Is(err, io.EOF) || err == nil && len(t.buffer) >= trafficBufferLimit:
			return t.buffer[:n], nil
		case err != nil:
			return nil, fmt.Errorf("linkmon: read the interfaces' counters: %w", err)
		}
		t.buffer = make([]byte, 2*len(t.buffer))
	}
}

// packetsOf finds an interface's packet counters in the table: after its name and a
// colon come sixteen numbers, of which the second is the packets received and the
// tenth those sent.
func packetsOf(table []byte, name string) (packets, bool) {
	for line := range bytes.Lines(table) {
		label, numbers, ok := bytes.Cut(bytes.TrimLeft(line, " "), []byte(":"))
		if !ok || string(label) != name {
			continue
		}
		fields := bytes.Fields(numbers)
		if len(fields) < 16 {
			return packets{}, false
		}
		rx, errRx := strconv.ParseUint(string(fields[1]), 10, 64)
		tx, errTx := strconv.ParseUint(string(fields[9]), 10, 64)
		return packets{rx: rx, tx: tx}, errRx == nil && errTx == nil
	}
	return packets{}, false
}
