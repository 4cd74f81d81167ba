// Command demo plays a live failover: a whole lab of network namespaces with a
// LAN, a gateway, two providers and an internet, the real daemon in the gateway,
// and clients that measure what each fault costs them.
//
// Nothing of the machine itself is changed, and nothing is left behind.
//
//   - main.go: the stage, that is lab, daemon and clients
//   - script.go: the acts, in their order
//   - clients.go: who is on the phone while the line is cut
//   - story.go: the timeline
//   - table.go: what it cost
//   - dashboard.go: whether swerve tui is shown beside it
//   - session.go: how, in panes of tmux
//   - timeline.go: how the story gets out of there
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/realtime"
)

// shortConfig makes the demo take about a minute. What it changes is how soon an
// uplink is forgiven and a degraded one seen, hardly how fast a loss is found.
const shortConfig = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
probe: {interval: 400ms}
health:
  window: 5s
  damping: {half_life: 5s, suppress: 12, reuse: 6}
failback: {after: 3s, min_interval: 2s}
`

// defaultConfig has nothing but the uplinks.
const defaultConfig = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
`

// options are the command line's.
type options struct {
	binary    string
	defaults  bool
	dashboard whether
	timeline  string
}

func main() {
	o := options{dashboard: ask}
	flag.StringVar(&o.binary, "swerve", "./bin/swerve", "the daemon's `BINARY`")
	flag.BoolVar(&o.defaults, "defaults", false, "configure nothing but the uplinks (takes a minute or two more)")
	flag.Var(&o.dashboard, "dashboard", "show swerve tui beside the timeline, with tmux: `WHETHER` is ask, yes or no")
	flag.StringVar(&o.timeline, "timeline", "", "also tell the timeline to a unix `SOCKET` (for the demo itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run plays the demo here, or in a terminal of its own that can be split.
func run(ctx context.Context, o options) (err error) {
	here := terminal{os.Stdin, os.Stdout}
	show, err := o.dashboard.wanted(ctx, here, answerTime)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errEnded
	}
	if show && !inTmux() {
		return inSession(ctx, os.Args[1:])
	}
	out, err := openTimeline(o.timeline)
	if err != nil {
		return err
	}
	defer func() { out.close(err) }()
	return perform(ctx, o, out, func(binary, socket string) (func(), error) {
		if !show {
			return func() {}, nil
		}
		return openDashboard(here, binary, socket)
	})
}

// perform builds the stage and plays on it. The dashboard, if any, is opened as
// soon as it has something to look at.
func perform(ctx context.Context, o options, out io.Writer, dashboard func(binary, socket string) (func(), error)) error {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
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
	s, err := newStage(l, binary, o.defaults, out)
	if err != nil {
		return err
	}
	closeDashboard, err := dashboard(binary, s.socket())
	if err != nil {
		return err
	}
	defer closeDashboard()
	defer func() { s.clients.stop() }() // whoever they are by then
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

// stage is what the acts play on.
type stage struct {
	out     io.Writer
	lab     *lab.Lab
	daemon  *lab.Daemon
	client  *control.Client
	clients *clients
	story   *story
	table   table
	// patience bounds each wait of an act.
	patience time.Duration
}

// socketName is the daemon's socket in its folder.
const socketName = "swerve.sock"

func (s *stage) socket() string { return filepath.Join(s.daemon.Dir, socketName) }

func newStage(l *lab.Lab, binary string, defaults bool, out io.Writer) (*stage, error) {
	daemon, err := l.NewDaemon(binary, "run", "-c", "{dir}/swerve.yaml", "--socket", "{dir}/"+socketName)
	if err != nil {
		return nil, err
	}
	text, patience := shortConfig, time.Minute
	if defaults {
		text, patience = defaultConfig, 5*time.Minute
	}
	fmt.Fprintf(out, "Its configuration:\n\n%s\n", indent(text))
	text += fmt.Sprintf("state: %s/state\ncontrol: {group: \"\"}\n", daemon.Dir)
	if err := os.WriteFile(filepath.Join(daemon.Dir, "swerve.yaml"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	return &stage{
		lab: l, daemon: daemon, clients: new(clients), patience: patience, story: newStory(out), out: out,
		client: control.Dial(filepath.Join(daemon.Dir, socketName)),
	}, nil
}
