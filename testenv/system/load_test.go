package system

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wire"
)

var loads = flag.Duration("loads", 0, "how long TestLoads fills an uplink in each direction; 0: once for a few seconds")

const (
	loadRate  = 5_000_000 // bits a second
	loadFrame = 1514      // bytes, of a full frame
	// mostShunned is how long a queue may keep new flows away while it grows.
	mostShunned = 300 * time.Millisecond
)

// anyLatency leaves out that an uplink is degraded by its latency, which a queue of a
// second makes it by the default limit: only new flows go elsewhere then, as planned.
// The limit of losses stands.
const anyLatency = twoUplinks + `health: {latency: {degraded: never, clear: never}}
`

// oneFamily is the same without IPv6, so with half as many probes.
var oneFamily = strings.NewReplacer("wan0}", "wan0, ipv6: false}", "wan1}", "wan1, ipv6: false}").Replace(anyLatency)

// ramp is one filling of an empty queue.
type ramp struct {
	queue       time.Duration // that fits in front of the uplink
	congestion  string
	connections int
	part        float64 // of a depth's time
}

// ramps are those of a long run, 4 for each length of the queue. BBR alone keeps a queue short;
// several connections keep a longer one.
func ramps() (all []ramp) {
	for _, queue := range []time.Duration{200, 500, 1000, 2000, 4000} {
		queue *= time.Millisecond
		all = append(all, ramp{queue, "cubic", 1, 0.4}, ramp{queue, "cubic", 8, 0.3}, ramp{queue, "bbr", 1, 0.15}, ramp{queue, "bbr", 8, 0.15})
	}
	return all
}

// One download or upload fills the first uplink, whose queue holds up to four seconds.
// That is no outage: nothing goes down, and no session is moved or ended.
func TestLoads(t *testing.T) {
	t.Parallel()
	for _, download := range []bool{false, true} {
		t.Run(map[bool]string{false: "upload", true: "download"}[download], func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, anyLatency)
				g.load(download, failover.Families[:]...)
			})
		})
	}
}

// Without IPv6 there are half as many probes, and a queue that grows too fast for them is
// taken for an outage. What TCP makes is not, be it eight connections that begin at once.
func TestLoadOnOneFamily(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, oneFamily)
		g.Start()
		g.Await("fiber to carry", carriesIPv4)
		g.load(false, failover.IPv4)
	})
}

// load fills fiber's queue once, or for as long as the flag says by all ramps, and checks
// that nothing came of it.
func (g *gateway) load(download bool, families ...failover.Family) {
	g.Helper()
	if *loads == 0 {
		g.fill(ramp{2 * time.Second, "cubic", 8, 0}, download, 10*time.Second, families...)
	} else {
		for _, r := range ramps() {
			g.fill(r, download, time.Duration(r.part*float64(*loads/5)), families...)
		}
	}
	g.heldOn()
}

// carriesIPv4 reports whether fiber carries IPv4, and all uplinks are up in it.
func carriesIPv4(s *control.Status) bool {
	return lab.CarriesFamily(s, "fiber", failover.IPv4) &&
		!slices.ContainsFunc(s.Uplinks, func(u control.Uplink) bool { return u.IPv4.State != control.Up })
}

func (r ramp) String() string {
	return fmt.Sprintf("%d of %s over %v", r.connections, r.congestion, r.queue)
}

// fill fills fiber's queue in one direction, for a while, and checks that a session by
// fiber in each of the families lives, and new flows are not kept away for long.
func (g *gateway) fill(r ramp, download bool, length time.Duration, families ...failover.Family) {
	g.Helper()
	if !congestionControl(r.congestion) {
		g.Logf("this kernel has no %s", r.congestion)
		return
	}
	direction := wire.ToISP
	if download {
		direction = wire.ToGateway
	}
	w := g.Wire[fiber]
	w.Change(wire.Both, func(p *wire.Path) { p.Rate = loadRate })
	room := int(r.queue.Seconds() * loadRate / 8 / loadFrame)
	w.Change(direction, func(p *wire.Path) { p.Queue = room })
	var sessions []*session
	for _, f := range families {
		s := g.session(g.Client, traffic.TCPStream, lab.Servers[f], 10)
		sessions = append(sessions, s)
	}
	g.goBy(fiber, sessions...)
	since := time.Now()
	l, err := traffic.StartLoad(g.Client, g.Internet, lab.Server4, traffic.LoadOptions{
		Download: download, Connections: r.connections, Congestion: r.congestion,
	})
	if err != nil {
		g.Fatal(err)
	}
	waiting := func() int {
		c := w.Counters(direction)
		return int(c.In - c.Out - c.Dropped())
	}
	var q depths
	for end := since.Add(length); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		q.add(time.Now(), waiting())
	}
	err = l.Err()
	l.Stop()
	if err != nil {
		g.Errorf("%v: a connection of the load ended: %v", r, err)
	}
	g.Until("the queue to be empty", func() bool { return waiting() < 5 })
	g.goBy(fiber, sessions...)
	for _, s := range sessions {
		if b := s.Breaks(); len(b) > 0 {
			g.Errorf("%v: %s: %d connections broke: %s", r, s, len(b), b[0].Err)
		}
		s.Stop()
	}
	if r.congestion == "cubic" && q.deepest < room/2 {
		g.Errorf("%v: %d frames waited, want %d at least", r, q.deepest, room/2)
	}
	settled := lab.Settled
	if len(families) == 1 {
		settled = carriesIPv4
	}
	g.Await("fiber to carry", settled)
	suspicions, total := g.notKeptAway(r, since, families)
	g.Logf("%v: %v; %.2f Mbit/s; %d suspicions, shunned for %v", r, &q,
		float64(l.Received())*8/1e6/time.Since(since).Seconds(), suspicions, total)
}

// notKeptAway checks that a ramp has not kept new flows away for long, and returns how
// often fiber was suspected since the start, and for how long it was shunned.
func (g *gateway) notKeptAway(r ramp, since time.Time, families []failover.Family) (suspicions uint64, total time.Duration) {
	g.Helper()
	for _, f := range families {
		shunned := g.shunned(fiber, f, since)
		suspicions += g.Status().Uplinks[fiber].Family(f).Suspicions
		if shunned > mostShunned {
			g.Errorf("%v: %s of fiber was shunned for %v, want %v at most", r, f, shunned, mostShunned)
		}
		total += shunned
		if shunned > 0 {
			g.Logf("%v: %s of fiber was shunned for %v", r, f, shunned)
		}
	}
	return suspicions, total
}

// depths is how many frames waited in a queue.
type depths struct {
	deepest, samples, sum int
	// growth is by how much the queue grew within half a second, at most; at and
	// queued are the samples of the latest one.
	growth int
	at     []time.Time
	queued []int
}

func (q *depths) add(at time.Time, queued int) {
	q.deepest, q.samples, q.sum = max(q.deepest, queued), q.samples+1, q.sum+queued
	q.at, q.queued = append(q.at, at), append(q.queued, queued)
	for at.Sub(q.at[0]) > time.Second/2 {
		q.at, q.queued = q.at[1:], q.queued[1:]
	}
	q.growth = max(q.growth, queued-q.queued[0])
}

// String formats depths as the time that the frames wait.
func (q *depths) String() string {
	inTime := func(n int) time.Duration {
		return (time.Duration(n) * loadFrame * 8 * time.Second / loadRate).Round(time.Millisecond)
	}
	return fmt.Sprintf("up to %v queued, %v on average, growing by up to %v in half a second",
		inTime(q.deepest), inTime(q.sum/max(1, q.samples)), inTime(q.growth))
}

// shunned returns for how long an uplink was shunned since an instant.
func (g *gateway) shunned(uplink int, f failover.Family, since time.Time) (total time.Duration) {
	g.Helper()
	var begun time.Time
	for _, e := range g.Events() {
		d, ok := e.Detail.(control.HealthDetail)
		if !ok || d.Uplink != uplinkNames[uplink] || d.Family != f.String() || e.Time.Before(since) {
			continue
		}
		switch {
		case d.To == control.Shunned:
			begun = e.Time.Time
		case d.From == control.Shunned:
			total += e.Time.Sub(begun)
		}
	}
	return total
}

// heldOn checks that nothing went down so far, and no session was moved, reset or closed.
func (g *gateway) heldOn() {
	g.Helper()
	downs, shuns := 0, 0
	for _, f := range failover.Families {
		for _, s := range g.entered(fiber, f) {
			switch s {
			case control.Down:
				downs++
			case control.Shunned:
				shuns++
			}
		}
	}
	touched := 0
	events := g.Events()
	if events[0].Seq != 1 {
		g.Errorf("the first event left is the %dth", events[0].Seq)
	}
	for _, e := range events {
		if d, ok := e.Detail.(control.SessionsDetail); ok {
			touched++
			g.Errorf("sessions were ended or moved: %+v", d)
		}
	}
	for _, s := range g.switches() {
		if s.Kind == "switchover" {
			g.Errorf("new flows were moved by choice: %+v", s)
		}
	}
	g.Logf("%d downs, %d shuns, %d times sessions were ended, %d switches", downs, shuns, touched, len(g.switches()))
	if downs > 0 {
		g.Errorf("fiber went down %d times", downs)
	}
}

// congestionControl reports whether the kernel has a congestion control.
func congestionControl(name string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	return err == nil && slices.Contains(strings.Fields(string(b)), name)
}
