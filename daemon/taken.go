package daemon

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"swerve/config"
	"swerve/control"
)

// Which interfaces `uplinks: auto` stands for is known to the daemon alone, and from
// its state. Commands that look at what a daemon does, or would do, ask here.

// askWithin is how long a command waits for the daemon's status.
const askWithin = 5 * time.Second

// neighbor is the daemon that holds this network namespace, as another process sees it.
type neighbor struct {
	// runs: there is one.
	runs bool
	// status is what it answered; nil for nothing, for the reason in unasked.
	status  *control.Status
	unasked error
}

// askNeighbor asks the daemon of this network namespace, if there is one, on that socket,
// or if it is empty on the one that the daemon names.
func askNeighbor(ctx context.Context, socket string) (n neighbor) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for i := range lockNames {
		h, there := askHolder(i)
		if !there || !h.counts() {
			continue
		}
		c := control.Dial(cmp.Or(socket, h.socket(), control.DefaultSocket))
		defer c.Close()
		n.runs = true
		n.status, n.unasked = c.Status(ctx)
		return n
	}
	if socket != "" { // one that is named may be anywhere
		c := control.Dial(socket)
		defer c.Close()
		n.status, _ = c.Status(ctx)
		n.runs = n.status != nil
	}
	return n
}

// socket returns the control socket that a holder names; empty for none.
func (h holder) socket() string {
	_, path, _ := strings.Cut(h.text, "socket ")
	path, _, _ = strings.Cut(path, ", config ")
	return path
}

// Taken returns which interfaces `uplinks: auto` stands for on this machine now: those
// that a running daemon uses, and those that the state of the configuration remembers. Of
// the options only the socket counts.
func Taken(ctx context.Context, o Options, cfg *config.Config) (config.Taken, error) {
	links := new(frozenNetwork)
	now := defaultRoutes(links.Defaults())
	if links.err != nil {
		return config.Taken{}, links.err
	}
	past, _ := loadState(cfg.State)
	today := time.Now()
	n := askNeighbor(ctx, o.Socket)
	known, assumed := knownAuto(n, refreshAuto(past.Auto, now, today), now, today)
	return takenOf(n, known, now, assumed), nil
}

// knownAuto returns the interfaces that `uplinks: auto` stands for, from what the state
// remembers and what a running daemon says. If nothing is known at all, it assumes that
// a target answers through each interface with a default route.
func knownAuto(n neighbor, remembered []autoUplink, now []config.DefaultRoute, today time.Time) (known []autoUplink, assumed bool) {
	known = slices.Clone(remembered)
	add := func(name string) {
		i := slices.IndexFunc(now, func(d config.DefaultRoute) bool { return d.Interface == name })
		if i >= 0 && !slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == name }) {
			known, _ = takeAuto(known, now[i], now, today)
		}
	}
	switch {
	case n.status != nil:
		for _, u := range n.status.Uplinks {
			add(u.Interface)
		}
	case len(remembered) == 0:
		for _, d := range now {
			add(d.Interface)
		}
		return known, true
	}
	return known, false
}

// takenOf sorts the interfaces with default routes by whether they are taken.
func takenOf(n neighbor, known []autoUplink, now []config.DefaultRoute, assumed bool) config.Taken {
	t := config.Taken{Assumed: assumed, Unasked: n.unasked != nil}
	for _, a := range known {
		t.Routes = append(t.Routes, config.DefaultRoute{Interface: a.Interface, Metric: a.Metric, Weight: a.Weight, Family: a.Family})
	}
	for _, d := range now {
		if !slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == d.Interface }) {
			t.Candidates = append(t.Candidates, d)
		}
	}
	return t
}
