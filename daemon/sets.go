package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/firewall"
)

// readSetsEvery is how often the sets are read that others fill.
const readSetsEvery = time.Minute

// setReader reads the sets that others fill, in a goroutine of its own: they may have
// many elements. What it read last is put back after a foreign flush.
type setReader struct {
	// read is Machine.ReadSets.
	read     func([]firewall.Set) (map[string][2]int, error)
	problems *problems
	changed  chan struct{}

	mu         sync.Mutex
	generation uint64
	sets       []firewall.Set
	figures    map[string][2]int
}

func newSetReader(read func([]firewall.Set) (map[string][2]int, error), p *problems) *setReader {
	return &setReader{read: read, problems: p, changed: make(chan struct{}, 1)}
}

// firewallSets returns the sets as the packet filter has them.
func firewallSets(sets []config.Set) []firewall.Set {
	var out []firewall.Set
	for _, s := range sets {
		out = append(out, firewall.Set{Name: s.Name, Timeout: s.Timeout, Size: uint32(s.Size), Comment: s.Comment})
	}
	return out
}

// follow sets which sets to read, by the configuration with a generation. They are read
// once for each.
func (r *setReader) follow(generation uint64, sets []firewall.Set) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation == generation {
		return
	}
	r.generation, r.sets = generation, sets
	wake(r.changed)
}

// status returns the sets with their figures; those that were not read are nil.
func (r *setReader) status() []control.Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []control.Set
	for _, s := range r.sets {
		set := control.Set{Name: s.Name, Size: int(s.Size)}
		if n, ok := r.figures[s.Name]; ok {
			if n[0] >= 0 {
				set.IPv4 = &n[0]
			}
			if n[1] >= 0 {
				set.IPv6 = &n[1]
			}
		}
		out = append(out, set)
	}
	return out
}

// run reads until ctx ends.
func (r *setReader) run(ctx context.Context) error {
	if r.read == nil {
		<-ctx.Done()
		return nil
	}
	return each(ctx, readSetsEvery, r.changed, r.sample)
}

func (r *setReader) sample() {
	r.mu.Lock()
	sets := r.sets
	r.mu.Unlock()
	figures, err := r.read(sets)
	if err != nil {
		figures = nil // unknown
	}
	r.mu.Lock()
	r.figures = figures
	r.mu.Unlock()
	r.problems.replace("sets", fullSets(sets, figures))
}

// fullSets returns a problem for each set that takes no more elements.
func fullSets(sets []firewall.Set, figures map[string][2]int) []control.Problem {
	var out []control.Problem
	for _, s := range sets {
		var full []string
		for i, n := range figures[s.Name] {
			if n >= int(s.Size) {
				full = append(full, [2]string{"IPv4", "IPv6"}[i])
			}
		}
		if len(full) > 0 {
			out = append(out, control.Problem{
				Code: "set-full", Severity: control.Warning, Object: s.Name,
				Text:   fmt.Sprintf("the set is full in %s with %d elements: further ones are refused", strings.Join(full, " and "), s.Size),
				Remedy: fmt.Sprintf("a greater size, or a timeout, in sets.%s", s.Name),
			})
		}
	}
	return out
}
