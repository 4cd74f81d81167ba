package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// defaults is the configuration of all that is measured: nothing but the uplinks.
const defaults = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
`

// The uplinks by their number in the lab.
const (
	fiber = 0
	lte   = 1
)

// servers are the addresses of the internet's server, by family.
var servers = [2]netip.Addr{failover.IPv4: lab.Server4, failover.IPv6: lab.Server6}

// patience bounds each wait. It ends only what went wrong.
const patience = 30 * time.Second

// unitNice is the nice value that the unit gives the daemon.
const unitNice = "-10"

// bed is a lab with a daemon in its gateway.
type bed struct {
	*lab.Lab
	daemon *lab.Daemon
	api    *control.Client
}

// newBed builds a lab, starts the daemon in it, and waits until the first uplink
// carries and all is up.
func newBed(ctx context.Context, binary string) (*bed, error) {
	l, err := lab.New(lab.Options{})
	if err != nil {
		return nil, err
	}
	b := &bed{Lab: l}
	if err := b.start(ctx, binary); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bed) start(ctx context.Context, binary string) (err error) {
	b.daemon, err = b.NewDaemon("nice", "-n", unitNice, binary, "run", "-c", "{dir}/swerve.yaml", "--socket", "{dir}/swerve.sock")
	if err != nil {
		return err
	}
	if err := b.configure(defaults); err != nil {
		return err
	}
	b.api = control.Dial(filepath.Join(b.daemon.Dir, "swerve.sock"))
	if err := b.daemon.Start(); err != nil {
		return err
	}
	return b.awaitUp(ctx)
}

// configure writes the daemon's configuration.
func (b *bed) configure(text string) error {
	text += fmt.Sprintf("state: %s/state\ncontrol: {group: \"\"}\n", b.daemon.Dir)
	return os.WriteFile(filepath.Join(b.daemon.Dir, "swerve.yaml"), []byte(text), 0o644)
}

func (b *bed) close() {
	if b.api != nil {
		b.api.Close()
	}
	b.Close()
}

// awaitUp waits until the present daemon has every uplink up in both families.
func (b *bed) awaitUp(ctx context.Context) error {
	return b.await(ctx, "the uplinks to be up", func(s *control.Status) bool {
		up := s.Daemon.PID == b.daemon.Pid() && len(s.Uplinks) > 0
		for _, u := range s.Uplinks {
			up = up && u.IPv4.State == control.Up && u.IPv6.State == control.Up
		}
		return up
	})
}

// await polls the status until something holds.
func (b *bed) await(ctx context.Context, what string, holds func(*control.Status) bool) error {
	return until(ctx, what, func() bool {
		s, err := b.api.Status(ctx)
		return err == nil && holds(s)
	})
}

// until polls a condition, for at most patience.
func until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("waited in vain for "+what))
	defer cancel()
	for !holds() {
		if !sleep(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// sleep waits, and reports false where ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// events are all of the daemon's present run.
func (b *bed) events(ctx context.Context) (all []control.Event, err error) {
	for e, err := range b.api.Events(ctx, time.Time{}, false) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
