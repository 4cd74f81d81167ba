package firewall

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"swerve/lane"
)

// Roster remembers the clients of TCP connections in use, the latest active ones, so that
// Poke has them at hand. Without it there would be none where the kernel is faster than a
// verdict: with an interface or its address, all entries masqueraded there are gone. The
// zero value is empty. It is safe for concurrent use.
type Roster struct {
	mu    sync.Mutex
	known []client
}

// List reads who is there, and returns how many are known then. Where there are more than
// 20,000 entries it is an error: while the kernel looks for a few of many, a processor
// forwards nothing.
func (r *Roster) List(l lane.Layout) (known int, err error) {
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("firewall: list the clients of TCP connections: %w", err)
	}
	if err := listable(); err != nil {
		return fail(err)
	}
	all, err := activeClients(l, 0, 0, clients{most: mostPokes, over: map[ends]bool{}}, func(*client) bool { return true })
	if err != nil {
		return fail(err)
	}
	return r.merge(all, time.Now()), nil
}

// merge replaces what is known by what was found. An open connection whose entry is gone
// was mostly not closed, as entries outlast the end of theirs by ten seconds and more: the
// kernel took it. Its client is remembered for as long as it would count as active.
func (r *Roster) merge(all clients, now time.Time) (known int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there := connectionsOf(all)
	for _, c := range r.known {
		if c.open && !there[c.ends()] && !all.over[c.ends()] && now.Sub(c.active) <= activeFor {
			all.found = append(all.found, c)
		}
	}
	all.limit()
	r.known = slices.Clip(all.found)
	return len(r.known)
}

// of returns the clients of some losses that are still active, and forgets them if they are
// taken.
func (r *Roster) of(l lane.Layout, losses []Loss, taken bool) clients {
	out := clients{most: mostPokes}
	if r == nil {
		return out
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.known = slices.DeleteFunc(r.known, func(c client) bool {
		if c.loss = lossOf(l, losses, c.lanes, c.family()); c.loss < 0 {
			return false
		}
		if now.Sub(c.active) <= activeFor {
			out.found = append(out.found, c)
		}
		return taken
	})
	return out
}
