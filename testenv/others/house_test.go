package others

import (
	"bufio"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

const (
	fiber = lab.Fiber
	lte   = lab.LTE
)

// quick is a configuration with short damping, so that an uplink is soon back.
const quick = lab.TwoUplinks + `health: {window: 5s, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// house is a lab whose gateway has a daemon, and a server in its internet.
type house struct {
	t *testing.T
	*lab.Lab
	lab.Driver
	daemon *lab.Swerve
	server *traffic.Server
}

// newHouse builds a lab with a configured daemon that does not run yet.
func newHouse(t *testing.T, opts lab.Options, config string) *house {
	t.Helper()
	h := &house{t: t, Lab: lab.NewTest(t, opts)}
	h.daemon, h.Driver = h.Drive(t, lab.Setup{Binary: daemonBinary, Config: config})
	var err error
	if h.server, err = traffic.Serve(h.Internet, lab.Servers[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.server.Close()
		log := h.daemon.Log()
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(log, bad) {
				t.Errorf("the daemon's log has %q", bad)
			}
		}
		if t.Failed() {
			t.Logf("the gateway:\n%s", h.kernel())
		}
	})
	return h
}

// startHouse is newHouse with a daemon whose uplinks are all up.
func startHouse(t *testing.T, opts lab.Options, config string) *house {
	t.Helper()
	h := newHouse(t, opts, config)
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	return h
}

// sh runs a script in the gateway, with the machine's own programs.
func (h *house) sh(script string) string {
	h.t.Helper()
	return h.at(h.Gateway, script)
}

func (h *house) at(ns *netns.NS, script string) string {
	h.t.Helper()
	out, err := ns.Run("sh", "-euc", script)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// kernel lists what is in the gateway.
func (h *house) kernel() string {
	out, _ := h.Gateway.Run("sh", "-c", "ip -4 rule; ip -6 rule; ip address; for f in 4 6; do ip -$f route show table all | grep -v -e 'table local' | head -60; done; nft list ruleset | head -400")
	return out
}

// session is a client of one kind in one family.
type session struct {
	*traffic.Client
	h      *house
	family failover.Family
}

func (s *session) String() string { return fmt.Sprintf("%s %s to %s", s.family, s.Kind, s.To.Addr()) }

// clients are a LAN's usual traffic, in both families: new sessions, and one session of UDP
// and of TCP. The index is the family.
type clients struct{ fresh, udp, tcp [2]*session }

func (p *clients) all() []*session { return slices.Concat(p.fresh[:], p.udp[:], p.tcp[:]) }

// of lists those of one family.
func (p *clients) of(f failover.Family) []*session { return []*session{p.fresh[f], p.udp[f], p.tcp[f]} }

// clients starts clients on the LAN.
func (h *house) clients() *clients { return h.clientsAt(h.Client, lab.Servers) }

func (h *house) clientsAt(ns *netns.NS, to [2]netip.Addr) *clients {
	h.t.Helper()
	p := new(clients)
	for _, f := range failover.Families {
		p.fresh[f] = h.session(ns, traffic.UDPSessions, to[f])
		p.udp[f] = h.session(ns, traffic.UDPStream, to[f])
		p.tcp[f] = h.session(ns, traffic.TCPStream, to[f])
	}
	return p
}

// session starts a client in a namespace.
func (h *house) session(ns *netns.NS, kind traffic.Kind, to netip.Addr) *session {
	h.t.Helper()
	c, err := traffic.Start(ns, kind, to, traffic.Options{Rate: 50, Timeout: 3 * time.Second})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Stop)
	return &session{Client: c, h: h, family: failover.FamilyOf(to)}
}

// goBy waits until each session is answered by an uplink.
func (h *house) goBy(uplink int, all ...*session) {
	h.t.Helper()
	want := [2]netip.Addr{h.Uplinks[uplink].Public4, h.Uplinks[uplink].Address6}
	h.answered("by "+h.Uplinks[uplink].Interface, func(s *session, via netip.Addr) bool { return via == want[s.family] }, all)
}

// goFrom waits until each session is answered, with a source address at the server.
func (h *house) goFrom(want netip.Addr, all ...*session) {
	h.t.Helper()
	h.answered("as "+want.String(), func(_ *session, via netip.Addr) bool { return via == want }, all)
}

// inARow is how many consecutive requests show which way a session goes.
const inARow = 10

func (h *house) answered(how string, wanted func(*session, netip.Addr) bool, all []*session) {
	h.t.Helper()
	since := time.Now()
	ctx, cancel := wait.Bounded(h.t.Context())
	defer cancel()
	for _, s := range all {
		holds := func() bool {
			return s.Answered(inARow, since, func(via netip.Addr) bool { return wanted(s, via) })
		}
		if err := wait.Until(ctx, fmt.Sprintf("%s to be answered %s", s, how), holds); err != nil {
			log := s.Log()
			h.t.Fatalf("%v; the latest: %+v", err, log[max(0, len(log)-3):])
		}
	}
}

// silent waits until a session has not been answered for a while.
func (h *house) silent(all ...*session) {
	h.t.Helper()
	for _, s := range all {
		wait.For(h.t, s.String()+" to be stopped", func() bool {
			log, edge := s.Log(), time.Now().Add(-time.Second)
			return !slices.ContainsFunc(log, func(r traffic.Request) bool { return r.Answered.After(edge) })
		})
	}
}

// undisturbed checks that all that was sent since an instant was answered, and that no
// connection ended.
func (h *house) undisturbed(what string, since time.Time, all ...*session) {
	h.t.Helper()
	h.disturbed(what, since, 0, all...)
	for _, s := range all {
		if breaks := s.Breaks(); len(breaks) > 0 {
			h.t.Errorf("%s: %s: %d connections broke: %s", what, s, len(breaks), breaks[0].Err)
		}
	}
}

// disturbed checks that no more than some requests since an instant had no answer, and
// returns the most of a session.
func (h *house) disturbed(what string, since time.Time, most int, all ...*session) (worst int) {
	h.t.Helper()
	end := time.Now()
	for _, s := range all {
		o := s.Measure(since, end)
		if o.Unanswered > 0 {
			h.t.Logf("%s: %s: %v", what, s, o)
		}
		if o.Unanswered > most || !o.Over {
			h.t.Errorf("%s disturbed %s: %v", what, s, o)
		}
		worst = max(worst, o.Unanswered)
	}
	return worst
}

// repairs returns the events about repairs so far.
func (h *house) repairs() []control.Event {
	h.t.Helper()
	return slices.DeleteFunc(h.Events(), func(e control.Event) bool { return e.Type() != control.EventRepair })
}

// unmoved checks that no policy has switched, and no uplink was suspected for long.
func (h *house) unmoved(when string) {
	h.t.Helper()
	for _, e := range h.Events() {
		if d, ok := e.Detail.(control.SwitchDetail); ok && h.Lateness() < 50*time.Millisecond {
			h.t.Errorf("%s: a switch: %+v", when, d)
		} else if ok {
			h.t.Logf("%s: a switch on a machine that paused for %v: %+v", when, h.Lateness(), d)
		}
	}
}

// problem returns a problem of the status; nil if it has none of that code and object.
func (h *house) problem(code, object string) *control.Problem {
	h.t.Helper()
	for _, p := range h.Status().Problems {
		if p.Code == code && (object == "" || p.Object == object) {
			return &p
		}
	}
	return nil
}

// ours waits until the kernel holds what the daemon wants: its plan is empty.
func (h *house) inPlace(when string) {
	h.t.Helper()
	var plan string
	err := wait.Until(h.t.Context(), "an empty plan", func() bool {
		r := h.Run(commandBinary, "plan", "-c", h.daemon.Config(), "--socket", h.daemon.Socket())
		plan = r.Stdout + r.Stderr
		return r.Code == 0 && plan == ""
	})
	if err != nil {
		h.t.Errorf("%s: %v:\n%s", when, err, plan)
	}
}

// writes counts changes of routes, rules and packet filters by whose they are.
type writes struct {
	mu           sync.Mutex
	ours, others int
	lines        []string
}

// watchWrites counts changes in the gateway from now on; stop ends that.
func (h *house) watchWrites() (w *writes, stop func()) {
	h.t.Helper()
	w = new(writes)
	var ends []func()
	for _, line := range []string{"ip monitor route rule", "nft monitor"} {
		words := strings.Fields(line)
		cmd := h.Gateway.Command(words[0], words[1:]...)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = h.Gateway.Start(cmd)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		var read sync.WaitGroup
		read.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				w.add(lines.Text())
			}
		})
		ends = append(ends, func() { _ = cmd.Process.Kill(); read.Wait(); _ = cmd.Wait() })
	}
	time.Sleep(300 * time.Millisecond) // until they listen
	stop = sync.OnceFunc(func() {
		for _, end := range ends {
			end()
		}
	})
	h.t.Cleanup(stop)
	return w, stop
}

func (w *writes) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case strings.Contains(line, "proto 83") || strings.Contains(line, "inet swerve"):
		w.ours++
	case strings.HasPrefix(line, "#") || strings.Contains(line, "table local"):
		return
	default:
		w.others++
	}
	if len(w.lines) < 400 {
		w.lines = append(w.lines, line)
	}
}

func (w *writes) counts() (ours, others int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ours, w.others
}

// calm watches for a while in which nothing is to be done, and checks that the daemon
// changes nothing. It tells how often each side has written. Where the daemon wrote, as
// after a verdict that a pause of the machine may cause, it is watched again; a contest of
// two programs has no end.
func (h *house) calm(what string, length time.Duration) {
	h.t.Helper()
	w, stop := h.watchWrites()
	defer stop()
	for range 8 {
		ours, others := w.counts()
		verdicts := len(h.verdicts())
		time.Sleep(length)
		oursNow, othersNow := w.counts()
		perMinute := func(n int) float64 { return float64(n) * float64(time.Minute) / float64(length) }
		ours, others = oursNow-ours, othersNow-others
		h.t.Logf("beside %s: the daemon writes %.0f times a minute, others %.0f; %d verdicts", what, perMinute(ours), perMinute(others), len(h.verdicts())-verdicts)
		if ours == 0 {
			return
		}
	}
	h.t.Errorf("beside %s the daemon goes on writing:\n%s", what, strings.Join(w.lines[max(0, len(w.lines)-30):], "\n"))
}

// verdicts are the events about health and switches so far.
func (h *house) verdicts() []control.Event {
	h.t.Helper()
	return slices.DeleteFunc(h.Events(), func(e control.Event) bool { return e.Type() != control.EventSwitch && e.Type() != control.EventHealth })
}
