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
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"swerve/control"
	"swerve/testenv"
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

func main() {
	binary := flag.String("swerve", "./bin/swerve", "the daemon's `BINARY`")
	defaults := flag.Bool("defaults", false, "configure nothing but the uplinks (takes a minute or two more)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *binary, *defaults)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, defaults bool) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	fmt.Print(intro)
	lab, err := testenv.New(testenv.Options{})
	if err != nil {
		return err
	}
	defer lab.Close()
	s, err := newStage(lab, binary, defaults)
	if err != nil {
		return err
	}
	defer func() { s.clients.stop() }() // whoever they are by then
	return s.play(ctx)
}

const intro = `Swerve demo: a gateway with two uplinks, in network namespaces of its own.

  client ── gateway ─┬─ wan0 (fiber) ── ISP 1 ─┬─ internet: targets, a server
                     └─ wan1 (lte) ──── ISP 2 ─┘
  10 ms of delay each way on both wires; IPv4 and IPv6; nothing of this machine
  is changed.

`

// stage is what the acts play on.
type stage struct {
	lab     *testenv.Lab
	daemon  *testenv.Daemon
	client  *control.Client
	clients *clients
	story   *story
	table   table
	// patience bounds each wait of an act.
	patience time.Duration
}

func newStage(lab *testenv.Lab, binary string, defaults bool) (*stage, error) {
	daemon, err := lab.NewDaemon(binary, "run", "-c", "{dir}/swerve.yaml", "--socket", "{dir}/swerve.sock")
	if err != nil {
		return nil, err
	}
	text, patience := shortConfig, time.Minute
	if defaults {
		text, patience = defaultConfig, 5*time.Minute
	}
	fmt.Printf("Its configuration:\n\n%s\n", indent(text))
	text += fmt.Sprintf("state: %s/state\ncontrol: {group: \"\"}\n", daemon.Dir)
	if err := os.WriteFile(filepath.Join(daemon.Dir, "swerve.yaml"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	return &stage{
		lab: lab, daemon: daemon, clients: new(clients), patience: patience, story: newStory(os.Stdout),
		client: control.Dial(filepath.Join(daemon.Dir, "swerve.sock")),
	}, nil
}
