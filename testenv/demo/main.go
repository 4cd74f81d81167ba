// Command demo plays a live failover: a whole lab of network namespaces with a LAN, a
// gateway, two providers and an internet, the real daemon in the gateway, and clients
// that measure the effect of each fault.
//
// It changes nothing on the machine itself and leaves nothing behind.
//
//   - main.go: the stage: lab, daemon and clients
//   - script.go: the acts, in their order
//   - shared.go: those of the other demo, of a shared load
//   - clients.go: the sessions of the LAN's client
//   - story.go: the timeline
//   - table.go: the results
//   - dashboard.go: swerve tui beside it, in panes of tmux
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/realtime"
)

// shortConfig makes the demo take about a minute. It changes how soon an uplink is
// used again and a degraded one detected, but hardly how fast a loss is detected.
const shortConfig = lab.TwoUplinks + `probe: {interval: 400ms}
health:
  window: 5s
  damping: {half_life: 5s, suppress: 12, reuse: 6}
failback: {after: 3s, min_interval: 2s}
`

// options are the command line options.
type options struct {
	binary    string
	defaults  bool
	shared    bool
	dashboard string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "swerve", "./bin/swerve", "the daemon's `BINARY`")
	flag.BoolVar(&o.defaults, "defaults", false, "configure nothing but the uplinks (takes a minute or two more)")
	flag.BoolVar(&o.shared, "shared", false, "play uplinks that share the load, and the operator's hand, in place of failover")
	flag.StringVar(&o.dashboard, "dashboard", "ask", "show swerve tui beside the timeline, with tmux: `WHETHER` is ask, yes or no")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	if errors.Is(err, context.Canceled) {
		err = errors.New("ended early; nothing is left behind")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the demo on standard output, or beside the dashboard in a session of tmux.
func run(ctx context.Context, o options) error {
	var err error
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	show, err := wanted(ctx, o.dashboard)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !show:
		return perform(ctx, o, os.Stdout, func(string) error { return nil })
	}
	folder, err := os.MkdirTemp("", "swerve-demo-")
	if err != nil {
		return fmt.Errorf("show the dashboard: make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := openPanes(folder, cancel)
	if err != nil {
		return err
	}
	defer p.close()
	return perform(ctx, o, p.timeline, func(socket string) error { return p.add(ctx, o.binary, socket) })
}

// perform sets up the stage and plays the acts. It opens the dashboard, if any, as soon
// as the daemon has a socket.
func perform(ctx context.Context, o options, out io.Writer, openDashboard func(socket string) error) error {
	if o.shared {
		return performShared(ctx, o, out, openDashboard)
	}
	fmt.Fprint(out, intro)
	l, err := lab.New(lab.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	if realtime.Refused() {
		fmt.Fprint(out, ordinaryPriority)
	}
	config, patience := shortConfig, time.Minute
	if o.defaults {
		config, patience = lab.TwoUplinks, 5*time.Minute
	}
	fmt.Fprintf(out, "Its configuration:\n\n%s\n", indent(config))
	swerve, err := l.NewSwerve(lab.Setup{Binary: o.binary, Config: config})
	if err != nil {
		return err
	}
	if err := openDashboard(swerve.Socket()); err != nil {
		return err
	}
	s := &stage{lab: l, gateway: swerve, clients: new(clients), story: newStory(out), patience: patience}
	defer func() { s.clients.stop() }() // those that run by then
	return s.play(ctx)
}

const intro = `Swerve demo: a gateway with two uplinks, in network namespaces of its own.

  client ── gateway ─┬─ wan0 (fiber) ── ISP 1 ─┬─ internet: targets, a server
                     └─ wan1 (lte) ──── ISP 2 ─┘
  10 ms of delay each way on both wires; IPv4 and IPv6; nothing of this machine
  is changed.

`

const ordinaryPriority = `You may not have real-time priorities here, so the clients and wires share this
machine with all else: a busy one shows in the figures.

`

// stage is what the acts work with.
type stage struct {
	lab     *lab.Lab
	gateway lab.Gateway
	clients *clients
	story   *story
	table   table
	// patience bounds each wait of an act.
	patience time.Duration
}
