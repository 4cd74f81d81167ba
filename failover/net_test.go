package failover

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// network is the world that tests put around an engine: it sends what the
// engine asks for and answers as its wires are set, on a clock of its own.
type network struct {
	eng  *Engine
	now  Instant
	wake Instant
	seq  uint64
	todo queue
	wire map[wireKey]*wire
	rand *rand.Rand
	// paused is the end of a pause in which no step is made.
	paused Instant
	// noTick leaves out all ticks but those asked for; each tells of every step.
	each func(Instant, Event, Output)
	sent map[string]int
}

type wireKey struct {
	uplink string
	family Family
	target string // "" is the wire, else the target's own fault
}

// wire is one uplink's way in one family, or the way to one target.
type wire struct {
	rtt, jitter time.Duration
	loss        float64
	dead        bool
	// stalled holds answers back until then.
	stalled Instant
	noSend  bool
}

type planned struct {
	at  Instant
	seq uint64
	do  func()
}

type queue []planned

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(planned)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func newNetwork(cfg Config, seed uint64) *network {
	n := &network{
		eng: New(cfg), wake: forever, wire: map[wireKey]*wire{},
		rand: rand.New(rand.NewPCG(seed, 1)), sent: map[string]int{},
		each: func(Instant, Event, Output) {},
	}
	for _, u := range cfg.Uplinks {
		for _, f := range Families {
			n.wire[wireKey{u.Name, f, ""}] = &wire{rtt: 20 * time.Millisecond}
		}
	}
	return n
}

// at plans something for an instant.
func (n *network) at(at Instant, do func()) {
	n.seq++
	heap.Push(&n.todo, planned{max(at, n.now), n.seq, do})
}

// step hands an event to the engine now, and sends what it asks for.
func (n *network) step(ev Event) Output {
	out := n.eng.Step(n.now, ev)
	n.wake = out.Wake
	n.each(n.now, ev, out)
	for _, p := range out.Probes {
		n.send(p)
	}
	return out
}

func (n *network) send(p Probe) {
	n.sent[p.Uplink]++
	w := n.wire[wireKey{p.Uplink, p.Family, ""}]
	own := n.wire[wireKey{p.Uplink, p.Family, p.Target}]
	if w.noSend || own != nil && own.noSend {
		n.at(n.now, func() { n.step(ProbeNotSent{ID: p.ID, Cause: "send: operation not permitted", Errno: "EPERM"}) })
		return
	}
	sent := n.now
	n.at(n.now, func() { n.step(ProbeSent{ID: p.ID}) })
	if w.dead || n.rand.Float64() < w.loss || own != nil && (own.dead || n.rand.Float64() < own.loss) {
		return
	}
	rtt := w.rtt
	if w.jitter > 0 {
		rtt += time.Duration(n.rand.Int64N(int64(w.jitter)))
	}
	n.at(max(sent+rtt, w.stalled), func() {
		n.step(ProbeAnswered{ID: p.ID, RTT: n.now - sent})
	})
}

// run lets time pass until an instant.
func (n *network) run(until Instant) {
	for {
		next := n.wake
		if len(n.todo) > 0 {
			next = min(next, n.todo[0].at)
		}
		if next > until {
			break
		}
		n.now = max(n.now, next)
		if n.now < n.paused {
			n.now = min(n.paused, until)
		}
		if n.wake <= n.now {
			n.step(Tick{})
			continue
		}
		heap.Pop(&n.todo).(planned).do()
	}
	n.now = max(n.now, until)
}

// testLink is a link that has all it needs in both families.
func testLink(name string, index int) Link {
	l := Link{Interface: "if-" + name, Index: index, Present: true, AdminUp: true, Carrier: true}
	l.Family[IPv4] = testAddress("203.0.113.2/24", "203.0.113.1")
	l.Family[IPv6] = testAddress("2001:db8::2/64", "fe80::1")
	return l
}
