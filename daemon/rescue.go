package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// rescueOf is how the packet filter rescues addresses that an uplink does not reach.
func rescueOf(s setup) firewall.Rescue {
	if r := s.cfg.Rescue; r.Enabled {
		return firewall.Rescue{Addresses: uint32(r.Addresses), For: r.For}
	}
	return firewall.Rescue{}
}

// detourOf is the pair of uplinks of a ladder between which addresses are rescued; none where
// the next one is metered and that is not asked for.
func detourOf(s setup, l failover.Ladder) firewall.Detour {
	if !s.cfg.Rescue.Enabled || l.Spare == "" || l.Blocked {
		return firewall.Detour{}
	}
	for _, u := range s.uplinks {
		if u.Name == l.Spare && u.IsMetered() && !s.cfg.Rescue.Metered {
			return firewall.Detour{}
		}
	}
	return firewall.Detour{From: s.lanes.Uplinks[l.Rungs[0].Shares[0].Uplink], To: s.lanes.Uplinks[l.Spare]}
}

// readRescuedEvery is how often the sets of rescued addresses are read.
const readRescuedEvery = 5 * time.Second

// rescueReader reads how many addresses are rescued, in a goroutine of its own, and has events
// tell of them.
type rescueReader struct {
	// read is Machine.Rescued.
	read   func([]lane.Lane) (map[lane.Lane][2]int, error)
	events Publisher
	log    *slog.Logger

	mu      sync.Mutex
	detours []detour
	// counts is what was read last; nil while that is not known.
	counts map[detour]int
	told   map[detour]toldRescue
}

// detour is what a policy does not reach by an uplink, and rescues by another one.
type detour struct {
	policy   string
	lane     lane.Lane
	family   failover.Family
	from, to string
	lasts    time.Duration
}

// toldRescue is what the last event told.
type toldRescue struct {
	count int
	at    time.Time
}

func newRescueReader(read func([]lane.Lane) (map[lane.Lane][2]int, error), events Publisher, log *slog.Logger) *rescueReader {
	return &rescueReader{read: read, events: events, log: log, told: map[detour]toldRescue{}}
}

// detoursOf returns those of a goal of the packet filter.
func detoursOf(s setup, g firewall.Goal) []detour {
	var out []detour
	for _, p := range g.Policies {
		for f, d := range p.Detour {
			from, ok := s.uplinkOf(d.From)
			to, also := s.uplinkOf(d.To)
			if ok && also && g.Rescue.Addresses > 0 {
				out = append(out, detour{p.Name, p.Lane, failover.Family(f), from, to, g.Rescue.For})
			}
		}
	}
	return out
}

// follow sets what there is to read. What is no more is not told.
func (r *rescueReader) follow(detours []detour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(r.detours, detours) {
		return
	}
	r.detours = detours
	gone := func(d detour) bool { return !slices.Contains(detours, d) }
	maps.DeleteFunc(r.told, func(d detour, _ toldRescue) bool { return gone(d) })
	maps.DeleteFunc(r.counts, func(d detour, _ int) bool { return gone(d) })
}

// of returns how many addresses are rescued that an uplink does not reach; nil while that is
// not known. One that two policies rescue counts twice.
func (r *rescueReader) of(uplink string, f failover.Family) *int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		return nil
	}
	n := 0
	for d, count := range r.counts {
		if d.from == uplink && d.family == f {
			n += count
		}
	}
	return &n
}

// run reads until ctx ends.
func (r *rescueReader) run(ctx context.Context) error {
	if r.read == nil {
		<-ctx.Done()
		return nil
	}
	return each(ctx, readRescuedEvery, nil, func() { r.sample(time.Now()) })
}

func (r *rescueReader) sample(now time.Time) {
	r.mu.Lock()
	detours := r.detours
	r.mu.Unlock()
	var lanes []lane.Lane
	for _, d := range detours {
		if !slices.Contains(lanes, d.lane) {
			lanes = append(lanes, d.lane)
		}
	}
	read, err := r.read(lanes)
	counts := map[detour]int{}
	for _, d := range detours {
		counts[d] = max(0, read[d.lane][d.family])
	}
	if err != nil {
		counts = nil // unknown
	}
	r.mu.Lock()
	r.counts = counts
	var events []control.SessionsDetail
	for _, d := range detours {
		if n, known := counts[d]; known && slices.Contains(r.detours, d) {
			events = append(events, r.tells(d, n, now)...)
		}
	}
	r.mu.Unlock()
	for _, e := range events {
		about := []any{"event", "sessions", "uplink", e.Uplink, "policy", e.Policy, "family", e.Family}
		if e.Count != nil {
			about = append(about, "count", *e.Count)
		}
		r.log.Info("addresses "+e.Action, append(about, "reason", e.Reason)...)
		r.events.Publish(control.Event{Time: control.At(now), Detail: e})
	}
}

// tells returns the event about a detour, if there is one: where more addresses are rescued
// than was told, and where none is any more, at most once a minute. The caller holds the lock.
func (r *rescueReader) tells(d detour, n int, now time.Time) []control.SessionsDetail {
	told := r.told[d]
	if n == told.count || n > 0 && n < told.count || !told.at.IsZero() && now.Sub(told.at) < toldEvery {
		return nil
	}
	r.told[d] = toldRescue{n, now}
	e := control.SessionsDetail{Action: "rescued", Uplink: d.from, Policy: d.policy, Family: d.family.String(), Count: new(int64(n)),
		Reason: fmt.Sprintf("addresses that leave SYNs by %s unanswered, and answer by %s, are used there for %s", d.from, d.to, config.FormatDuration(d.lasts))}
	if n == 0 {
		e.Action, e.Count, e.Reason = "returned", nil, fmt.Sprintf("no address is used by %s instead any more", d.to)
	}
	return []control.SessionsDetail{e}
}
