package linkmon

import (
	"cmp"
	"sort"
	"sync"

	"swerve/failover"
)

// Observation is one event, with the instant at which it happened.
type Observation struct {
	At failover.Instant
	// Event is one of [failover.LinkChanged], [failover.NeighborFailed],
	// [failover.ProbeSent], [failover.ProbeNotSent], [failover.ProbeAnswered],
	// [failover.ProbeFailed] and [failover.Traffic].
	Event failover.Event
	// Uplink and Family of the probe that an outcome is of; empty with other events.
	Uplink string
	Family failover.Family
	// Purged: with a LinkChanged, that the link lost an address or was switched off
	// since the one before, even if only for a moment. The kernel then deleted the
	// entries of its masqueraded flows.
	Purged bool
}

// outboxLimit bounds the outcomes of probes that wait to be taken. With at most
// maxInFlight probes in flight, a caller that takes before it sends never reaches it.
const outboxLimit = 8 * maxInFlight

// outbox keeps observations until they are taken. put never blocks.
type outbox struct {
	mu sync.Mutex
	// outcomes of probes, in the order in which they came.
	outcomes []Observation
	// links and failed hold the newest of each, so they are bounded by the uplinks.
	links  map[string]Observation
	failed map[failover.NeighborFailed]Observation
	// dropped counts the outcomes that were discarded because the box was full.
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

// put adds an observation. A link's newer state replaces one that still waits. An
// outcome is dropped and counted if the box is full.
func (b *outbox) put(o Observation) {
	b.mu.Lock()
	switch event := o.Event.(type) {
	case failover.LinkChanged:
		o.Purged = o.Purged || b.links[event.Uplink].Purged
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

// forget removes what waits of an uplink that is no longer watched.
func (b *outbox) forget(uplink string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, uplink)
	for _, family := range failover.Families {
		delete(b.failed, failover.NeighborFailed{Uplink: uplink, Family: family})
	}
}

// take empties the box and returns what was in it, oldest first. A probe's answer
// never precedes its sending; at one instant, links precede neighbours, and these
// precede probes.
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
	// Not by package slices, whose code for observations is 18 KB.
	sort.Slice(all, func(i, j int) bool { return compareByUplink(all[i], all[j]) < 0 })
	all = append(all, b.outcomes...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].At < all[j].At })
	clear(b.links)
	clear(b.failed)
	b.outcomes = nil
	return all
}

// compareByUplink orders what the watch observed, whatever the order of the maps:
// links by name, then neighbours by name and family.
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
