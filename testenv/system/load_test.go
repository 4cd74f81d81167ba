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

// noLimits leaves out that an uplink is degraded, which a queue of a second makes it by
// the default limits: only new flows go elsewhere then, as planned.
const noLimits = twoUplinks + `health: {loss: {degraded: never, clear: never}, latency: {degraded: never, clear: never}}
`

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
		all = append(all, ramp{queue, "cubic", 1, 0.4}, ramp{queue, "cubic", 4, 0.3}, ramp{queue, "bbr", 1, 0.15}, ramp{queue, "bbr", 4, 0.15})
	}
	return all
}

// One download or upload fills the first uplink, whose queue holds up to four seconds.
// That is no outage: nothing goes down, and no session is moved or ended.
func TestLoads(t *testing.T) {
	for _, download := range []bool{false, true} {
		t.Run(map[bool]string{false: "upload", true: "download"}[download], func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, noLimits)
				if *loads == 0 {
					g.fill(ramp{2 * time.Second, "cubic", 4, 0}, download, 10*time.Second)
				} else {
					for _, r := range ramps() {
						g.fill(r, download, time.Duration(r.part*float64(*loads/5)))
					}
				}
				g.heldOn()
			})
		})
	}
}

func (r ramp) String() string {
	return fmt.Sprintf("%d of %s over %v", r.connections, r.congestion, r.queue)
}

// fill fills fiber's queue in one direction, for a while, and checks that a session by
// fiber lives, and new flows are not kept away for long.
func (g *gateway) fill(r ramp, download bool, length time.Duration) {
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
	for _, f := range failover.Families {
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
	deepest, samples, sum := 0, 0, 0
	for end := since.Add(length); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n := waiting()
		deepest, samples, sum = max(deepest, n), samples+1, sum+n
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
	if r.congestion == "cubic" && deepest < room/2 {
		g.Errorf("%v: %d frames waited, want %d at least", r, deepest, room/2)
	}
	g.Await("fiber to carry", lab.Settled)
	suspicions, total := 0, time.Duration(0)
	for _, f := range failover.Families {
		shunned, n := g.shunned(fiber, f, since)
		suspicions += n
		if shunned > mostShunned {
			g.Errorf("%v: %s of fiber was shunned for %v, want %v at most", r, f, shunned, mostShunned)
		}
		total += shunned
		if shunned > 0 {
			g.Logf("%v: %s of fiber was shunned for %v", r, f, shunned)
		}
	}
	inTime := func(n int) time.Duration {
		return (time.Duration(n) * loadFrame * 8 * time.Second / loadRate).Round(time.Millisecond)
	}
	g.Logf("%v: up to %v queued, %v on average; %.2f Mbit/s; %d suspicions, shunned for %v", r, inTime(deepest), inTime(sum/max(1, samples)),
		float64(l.Received())*8/1e6/time.Since(since).Seconds(), suspicions, total)
}

// shunned returns for how long an uplink was shunned since an instant, and how often it was
// suspected.
func (g *gateway) shunned(uplink int, f failover.Family, since time.Time) (total time.Duration, suspicions int) {
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
		case d.To == control.Suspect:
			suspicions++
		}
	}
	return total, suspicions
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
