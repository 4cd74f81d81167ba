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
	// trafficBuffer holds about forty interfaces. It grows up to the limit; what
	// the table has beyond that is ignored.
	trafficBuffer      = 8 << 10
	trafficBufferLimit = 1 << 20
	// trafficShare is the least ratio of the pause after a reading to the time that
	// the reading took, for machines with very many interfaces.
	trafficShare = 20
)

// traffic samples the packet counters of the uplinks' interfaces, and reports a
// [failover.Traffic] where packets leave and nothing comes back.
type traffic struct {
	file   *os.File
	buffer []byte
	clock  func() failover.Instant
	links  func() []uplinkLink
	out    *outbox
	log    *slog.Logger
	pulses map[string]*pulse // by interface
}

// openTraffic opens the counters in the calling thread's namespace. Where that
// fails there are no hints, and only probes detect a silence.
func openTraffic(o Options, links func() []uplinkLink, out *outbox) *traffic {
	file, err := os.Open(trafficFile)
	if err != nil {
		o.Log.Warn("open the interfaces' counters; traffic gives no hints", "err", err)
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

// run samples until ctx ends.
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
		pause, err := t.sampleAll()
		if err != nil {
			t.log.Warn("traffic gives no hints for now", "err", err)
			pause = retryAfter
		}
		timer.Reset(pause)
	}
}

// sampleAll samples each uplink's interface, and returns the pause until the next
// time.
func (t *traffic) sampleAll() (time.Duration, error) {
	at := t.clock()
	table, err := t.read()
	if err != nil {
		return 0, err
	}
	pause := idleEvery
	links := t.links()
	for _, l := range links {
		if now, ok := packetsOf(table, l.link.Interface); ok && t.sample(l, at, now) {
			pause = busyEvery
		}
	}
	maps.DeleteFunc(t.pulses, func(name string, _ *pulse) bool {
		return !slices.ContainsFunc(links, func(l uplinkLink) bool { return l.link.Interface == name })
	})
	return max(pause, trafficShare*(t.clock()-at)), nil
}

// sample adds a sample of an uplink's interface, reports its silence if there is
// one, and returns whether the interface is busy.
func (t *traffic) sample(l uplinkLink, at failover.Instant, now packets) bool {
	p := t.pulses[l.link.Interface]
	if p == nil {
		p = newPulse(at, now)
		t.pulses[l.link.Interface] = p
	}
	if unanswered, silent := p.sample(at, now); silent {
		for _, family := range failover.Families {
			t.out.put(Observation{At: at, Event: failover.Traffic{
				Uplink: l.uplink, Family: family, Unanswered: unanswered, Received: -1, Heard: -1,
			}})
		}
	}
	return p.busy()
}

// read returns the table of counters as text, valid until the next read.
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

// packetsOf finds an interface's packet counters in the table: its name and a colon
// are followed by sixteen numbers, of which the second counts the packets received
// and the tenth those sent.
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
