package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"swerve/testenv/wait"
)

// soaking are the kinds of a soak: all that leave the daemon, its files and its
// configuration alone, so that one process lives from the start to the end.
func soaking() (some []*kind) {
	for _, k := range kinds {
		alone := !slices.ContainsFunc(k.slots, func(slot string) bool {
			return slices.Contains([]string{"daemon", "config", "disk", "log", "clock"}, slot)
		})
		if alone && k.harm != absents {
			some = append(some, k)
		}
	}
	return some
}

// sample is what the daemon and its kernel had at a moment. Values that cannot be read
// are 0.
type sample struct {
	at     time.Time
	values [len(figures)]float64
}

// figures are what is sampled. A figure may grow by a part, and by a number more, from
// the second quarter of the time to the last; one with a bound alone may not exceed it.
var figures = [...]struct {
	name             string
	part, more, most float64
}{
	{name: "memory KiB", part: 0.15, more: 6 << 10},
	{name: "heap KiB", part: 0.25, more: 4 << 10},
	{name: "goroutines", part: 0.1, more: 10},
	{name: "threads", more: 8},
	{name: "files", more: 10},
	{name: "rules", more: 3},
	{name: "routes", more: 3},
	{name: "elements", part: 0.2, more: 20},
	{name: "flows", part: 0.3, more: 300},
	{name: "state KiB", most: 3 << 10},
	{name: "log B/min", most: 256 << 10},
}

// sampleEvery is the time between two samples.
const sampleEvery = 5 * time.Second

// sample records figures until the context ends.
func (s *stage) sample(ctx context.Context) {
	logged, at := s.swerve.Logged(), time.Now()
	for wait.Sleep(ctx, sampleEvery) == nil {
		now, total := time.Now(), s.swerve.Logged()
		one := s.look()
		one.values[len(figures)-1] = float64(total-logged) / now.Sub(at).Minutes()
		logged, at = total, now
		s.samples = append(s.samples, one)
		if s.instrument != nil && len(s.samples) == earlyProfile {
			s.instrument.profile(1)
		}
	}
}

// earlyProfile is the number of the sample at which a heap profile is written; the last
// one is written at the end.
const earlyProfile = 24

// keepProfiles copies the daemon's heap profiles to a folder, as heap.1 and heap.2, for
// go tool pprof -base.
func (s *stage) keepProfiles(folder string) error {
	if s.instrument == nil || folder == "" {
		return nil
	}
	last := s.swerve.File("instrument.2")
	s.instrument.profile(2)
	err := wait.Until(context.Background(), "a heap profile", func() bool {
		_, err := os.Stat(last)
		return err == nil || s.swerve.Pid() == 0
	})
	for _, n := range []string{"1", "2"} {
		if data, unread := os.ReadFile(s.swerve.File("instrument." + n)); unread == nil {
			err = errors.Join(err, os.WriteFile(filepath.Join(folder, "heap."+n), data, 0o644))
		}
	}
	return err
}

// look takes a sample, but for the last figure.
func (s *stage) look() sample {
	p := s.proc(s.swerve.Pid())
	ours, _ := s.ours()
	rules, routes := 0, 0
	for line := range strings.Lines(ours) {
		if strings.Contains(line, "lookup") || strings.Contains(line, "goto") || strings.Contains(line, ":\t") {
			rules++
		} else {
			routes++
		}
	}
	table, _ := s.lab.Gateway.Run("nft", "list", "table", "inet", "swerve")
	one := sample{at: time.Now(), values: [len(figures)]float64{
		float64(p.anonymous >> 10), 0, 0, float64(p.threads), float64(p.files), float64(rules), float64(routes),
		float64(strings.Count(table, "\n") + strings.Count(table, ",")), s.flowCount(), float64(folderSize(s.stateFolder()) >> 10), 0,
	}}
	if s.instrument != nil {
		one.values[1], one.values[2] = float64(s.instrument.get(wordHeap)>>10), float64(s.instrument.get(wordGoroutines))
	}
	return one
}

// flowCount is how many flows the gateway tracks.
func (s *stage) flowCount() float64 {
	text, _ := s.lab.Gateway.Sysctl("net/netfilter/nf_conntrack_count")
	n, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n
}

// folderSize is the sum of the sizes of a folder's files.
func folderSize(folder string) (sum int64) {
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// judgeSamples reports the figures of each tenth of a soak, and those that have grown.
func (s *stage) judgeSamples(from time.Time) {
	all := s.samples
	if len(all) < 20 {
		return
	}
	header := []string{"  minute"}
	for _, f := range figures {
		header = append(header, fmt.Sprintf("%10s", f.name))
	}
	fmt.Fprintf(s.journal.out, "\nmedians of each tenth:\n%s\n", strings.Join(header, " "))
	for i := range 10 {
		part := all[i*len(all)/10 : (i+1)*len(all)/10]
		row := []string{fmt.Sprintf("%8.1f", part[len(part)-1].at.Sub(from).Minutes())}
		for f := range figures {
			row = append(row, fmt.Sprintf("%10.0f", median(part, f)))
		}
		fmt.Fprintln(s.journal.out, strings.Join(row, " "))
	}
	for _, text := range grownFigures(all) {
		s.broken("%s", text)
	}
}

// grownFigures returns what is to be said of figures that have grown, or exceed their
// bound.
func grownFigures(all []sample) (said []string) {
	early, late := all[len(all)/4:len(all)/2], all[3*len(all)/4:]
	for i, f := range figures {
		before, after := median(early, i), median(late, i)
		switch {
		case f.most > 0 && after > f.most:
			said = append(said, fmt.Sprintf("%s: %.0f, more than %.0f", f.name, after, f.most))
		case f.most == 0 && after > before*(1+f.part)+f.more:
			said = append(said, fmt.Sprintf("%s has grown from %.0f to %.0f", f.name, before, after))
		}
	}
	return said
}

// median returns the median of a figure.
func median(some []sample, figure int) float64 {
	var all []float64
	for _, one := range some {
		all = append(all, one.values[figure])
	}
	slices.Sort(all)
	return all[len(all)/2]
}
