package linkmon

import (
	"cmp"
	"slices"
	"sync"

	"swerve/failover"
)

// Observation is one thing that was seen, with the instant at which it happened.
type Observation struct {
	At failover.Instant
	// Event is one of [failover.LinkChanged], [failover.NeighborFailed],
	// [failover.ProbeSent], [failover.ProbeNotSent], [failover.ProbeAnswered] and
	// [failover.Traffic].
	Event failover.Event
}

// outboxLimit bounds the outcomes of probes that wait to be taken. With at most
// 1024 probes under way it is not reached by a caller that takes what there
// is before it sends more.
const outboxLimit = 8 * maxInFlight

// outbox keeps observations until they are taken. Putting never blocks.
type outbox struct {
	mu sync.Mutex
	// outcomes of probes, in the order in which they came.
	outcomes []Observation
	// links and failed hold the newest of each, so they are bounded by the uplinks.
	links  map[string]Observation
	failed map[failover.NeighborFailed]Observation
	// dropped counts the outcomes that found the box full.
	dropped uint64
	// ready holds a token while there is something to take.
	ready chan struct{}
}

func newOutbox() *outbox {
	return &outbox{
		links:  map[string]Observation{},
		failed: map[failover.NeighborFailed]Observation{},
		ready:  make(chan struct{}, 1),
	}
}

// put adds an observation. A link's newer state replaces one that still waits; an
// outcome that finds the box full is dropped and counted.
func (b *outbox) put(o Observation) {
	b.mu.Lock()
	switch event := o.Event.(type) {
	case failover.LinkChanged:
		b.links[event.Uplink] = o
	case failover.NeighborFailed:
		b.failed[event] = o
	default:
		if len(b.outcomes) < outboxLimit {
			b.outcomes = append(b.outcomes, o)
		} else {
			b.dropped++
		}
	}
	b.mu.Unlock()
	signal(b.ready)
}

// forget drops a link's waiting state: its uplink is gone.
func (b *outbox) forget(uplink string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, uplink)
	for _, family := range failover.Families {
		delete(b.failed, failover.NeighborFailed{Uplink: uplink, Family: family})
	}
}

// take hands over everything, oldest first. A probe's answer never comes before
// its sending, and at one instant links go before neighbours and probes.
func (b *outbox) take() []Observation {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Observation, 0, len(b.links)+len(b.failed)+len(b.outcomes))
	for _, o := range b.links {
		all = append(all, o)
	}
	for _, o := range b.failed {
		all = append(all, o)
	}
	slices.SortFunc(all, compareByUplink)
	all = append(all, b.outcomes...)
	slices.SortStableFunc(all, func(x, y Observation) int { return cmp.Compare(x.At, y.At) })
	clear(b.links)
	clear(b.failed)
	b.outcomes = nil
	return all
}

// compareByUplink orders what the watch saw, so that the same always comes out
// the same way: links by name, then neighbours by name and family.
func compareByUplink(a, b Observation) int {
	order := func(o Observation) (kind int, name string, family failover.Family) {
		switch event := o.Event.(type) {
		case failover.LinkChanged:
			return 0, event.Uplink, 0
		case failover.NeighborFailed:
			return 1, event.Uplink, event.Family
		}
		panic("linkmon: no observation of the watch")
	}
	kindA, nameA, familyA := order(a)
	kindB, nameB, familyB := order(b)
	return cmp.Or(cmp.Compare(kindA, kindB), cmp.Compare(nameA, nameB), cmp.Compare(familyA, familyB))
}

func (b *outbox) droppedCount() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
