package system

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wire"
)

// The uplinks by their number in the lab, and as the configurations name them.
const (
	fiber = 0
	lte   = 1
)

var uplinkNames = []string{"fiber", "lte", "sat"}

// twoUplinks is the smallest configuration, so everything else is the default.
const twoUplinks = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
`

// forgiving is a configuration that forgives soon, so that a test sees an uplink
// come back: how fast a loss is found stays the default.
const forgiving = twoUplinks + `health: {window: 5s, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// nimble also probes more often, so that a window of five seconds is full.
const nimble = forgiving + `probe: {interval: 400ms}
`

// usual is the usual lab, masqueraded one that works without a daemon.
var (
	usual       = lab.Options{}
	masqueraded = lab.Options{Firewall: lab.FirewallMasquerade}
)

// servers are the addresses of the internet's server.
var servers = [2]netip.Addr{failover.IPv4: lab.Server4, failover.IPv6: lab.Server6}

// gateway is a lab whose gateway has a daemon.
type gateway struct {
	*trial
	*lab.Lab
	daemon *lab.Daemon
	api    *control.Client
	server *traffic.Server

	// leaks: the test itself has packets leave with foreign addresses.
	leaks bool
}

// newGateway builds a lab with a configured daemon that does not run yet. What is
// given of the command line comes first, for instance env(1) with variables.
func newGateway(t *trial, opts lab.Options, config string, before ...string) *gateway {
	t.Helper()
	g := &gateway{trial: t, Lab: lab.NewTest(t, opts)}
	args := append(before, daemonBinary, "run", "-c", "{dir}/swerve.yaml", "--socket", "{dir}/swerve.sock")
	var err error
	if g.daemon, err = g.NewDaemon(args[0], args[1:]...); err != nil {
		t.Fatal(err)
	}
	g.configure(config)
	g.api = control.Dial(g.file("swerve.sock"))
	if g.server, err = traffic.Serve(g.Internet, servers[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

// startGateway is newGateway with a daemon that runs, and whose first uplink
// carries both families.
func startGateway(t *trial, opts lab.Options, config string) *gateway {
	t.Helper()
	g := newGateway(t, opts, config)
	g.start()
	g.await("the first uplink to carry, and all to be up", func(s *control.Status) bool {
		return carries(s, uplinkNames[fiber]) && allUp(s)
	})
	return g
}

// close asks the questions that every scenario ends with.
func (g *gateway) close() {
	g.server.Close()
	g.api.Close()
	log := g.daemon.Log()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, bad) {
			g.Errorf("the daemon's log has %q", bad)
		}
	}
	g.noStrays()
	g.paused(g.Lateness())
	if g.Failed() {
		g.Logf("the daemon's log:\n%s", log)
	}
}

// noStrays wants no packet, and so no probe, to have left by an uplink with a
// source address of another: what the wires count, which is where the ISPs are.
func (g *gateway) noStrays() {
	g.Helper()
	for i, w := range g.Wire {
		if n := w.Counters(wire.ToISP).Foreign; n > 0 && !g.leaks {
			g.Errorf("%d packets left by %s with a source address that is not its own: %v", n, uplinkNames[i], w.ForeignSources())
		}
	}
}

// file is the path of a file in the daemon's folder.
func (g *gateway) file(name string) string { return filepath.Join(g.daemon.Dir, name) }

// configure writes the configuration, with what makes it the lab's own.
func (g *gateway) configure(text string) {
	g.Helper()
	text += fmt.Sprintf("state: %s\ncontrol: {group: \"\"}\n", g.file("state"))
	if err := os.WriteFile(g.file("swerve.yaml"), []byte(text), 0o644); err != nil {
		g.Fatal(err)
	}
}

// start starts the daemon and waits until it answers.
func (g *gateway) start() {
	g.Helper()
	if err := g.daemon.Start(); err != nil {
		g.Fatal(err)
	}
	g.await("the daemon to answer", func(s *control.Status) bool { return s.Daemon.PID == g.daemon.Pid() })
}

// stop ends the daemon as systemd would, and wants it to say that all went well.
func (g *gateway) stop() {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	if err := g.daemon.Stop(ctx); err != nil {
		g.Errorf("SIGTERM: %v", err)
	}
}

// kill ends the daemon without a word.
func (g *gateway) kill() {
	g.Helper()
	if err := g.daemon.Kill(); err != nil {
		g.Fatal(err)
	}
}

// fault breaks an uplink.
func (g *gateway) fault(uplink int, spec string) *lab.Fault {
	g.Helper()
	f, err := g.Fault(uplink, spec)
	if err != nil {
		g.Fatal(err)
	}
	return f
}

// mend undoes a fault.
func (g *gateway) mend(f *lab.Fault) {
	g.Helper()
	if err := f.Undo(); err != nil {
		g.Fatal(err)
	}
}

// swerve runs the binary in the gateway, with the daemon's socket, and returns
// what it wrote and its exit code.
func (g *gateway) swerve(args ...string) (stdout, stderr string, code int) {
	g.Helper()
	var out, errs strings.Builder
	cmd := g.Gateway.Command(commandBinary, append(args, "--socket", g.file("swerve.sock"))...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := g.Gateway.Start(cmd)
	if err != nil {
		g.Fatal(err)
	}
	limit := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	err = cmd.Wait()
	limit.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// patience bounds every wait: generous, since it only ends tests that fail.
const patience = 40 * time.Second

// eventually polls until a condition holds.
func (g *gateway) eventually(what string, holds func() bool) {
	g.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			g.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// await polls the daemon's status until a condition holds, and returns it.
func (g *gateway) await(what string, holds func(*control.Status) bool) (last *control.Status) {
	g.Helper()
	var err error
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var s *control.Status
		if s, err = g.api.Status(g.Context()); err == nil {
			if last = s; holds(s) {
				return s
			}
		}
		if time.Now().After(end) {
			g.Fatalf("waited %v in vain for %s; %s (%v)", patience, what, brief(last), err)
		}
	}
}

// status is how things are now.
func (g *gateway) status() *control.Status {
	g.Helper()
	return g.await("the daemon to answer", func(*control.Status) bool { return true })
}

// brief is a status in one line.
func brief(s *control.Status) string {
	if s == nil {
		return "there was no status"
	}
	var parts []string
	for _, u := range s.Uplinks {
		parts = append(parts, fmt.Sprintf("%s %s (%s) %s (%s)", u.Name, u.IPv4.State, u.IPv4.Reason, u.IPv6.State, u.IPv6.Reason))
	}
	for _, p := range s.Policies {
		parts = append(parts, fmt.Sprintf("%s by %v and %v", p.Name, p.IPv4, p.IPv6))
	}
	return strings.Join(parts, ", ")
}

// carries reports whether an uplink, and no other, carries the default policy in
// both families.
func carries(s *control.Status, uplink string) bool {
	for _, f := range failover.Families {
		if !carriesFamily(s, uplink, f) {
			return false
		}
	}
	return true
}

func carriesFamily(s *control.Status, uplink string, f failover.Family) bool {
	shares := s.Policies[0].Family(f)
	return len(shares) == 1 && shares[0].Uplink == uplink
}

// allUp reports whether every uplink is up in both families.
func allUp(s *control.Status) bool {
	for _, u := range s.Uplinks {
		if u.IPv4.State != control.Up || u.IPv6.State != control.Up {
			return false
		}
	}
	return true
}

// events are those of the daemon's present run so far.
func (g *gateway) events() (all []control.Event) {
	g.Helper()
	for e, err := range g.api.Events(g.Context(), time.Time{}, false) {
		if err != nil {
			g.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// entered lists the states that an uplink entered in a family, by the events.
func (g *gateway) entered(uplink int, f failover.Family) (states []control.State) {
	g.Helper()
	for _, e := range g.events() {
		if e.Health != nil && e.Health.Uplink == uplinkNames[uplink] && e.Health.Family == f.String() {
			states = append(states, e.Health.To)
		}
	}
	return states
}

// switches lists the switches so far.
func (g *gateway) switches() (all []control.SwitchDetail) {
	g.Helper()
	for _, e := range g.events() {
		if e.Switch != nil {
			all = append(all, *e.Switch)
		}
	}
	return all
}
