package system

import (
	"strings"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/packet"
	"swerve/testenv/traffic"
	"swerve/testenv/wire"
)

const (
	fiber      = lab.Fiber
	lte        = lab.LTE
	twoUplinks = lab.TwoUplinks
)

var uplinkNames = []string{"fiber", "lte", "sat"}

// quickRecovery is a configuration with short damping, so that a test sees an uplink come
// back: how fast a loss is detected stays the default.
const quickRecovery = twoUplinks + `health: {window: 5s, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// quickProbes also probes more often, so that a window of five seconds is full.
const quickProbes = quickRecovery + `probe: {interval: 400ms}
`

// usual is the usual lab, masqueraded one that works without a daemon.
var (
	usual       = lab.Options{}
	masqueraded = lab.Options{Firewall: lab.FirewallMasquerade}
)

// gateway is a lab whose gateway has a daemon, and a server in its internet.
type gateway struct {
	*trial
	*lab.Lab
	lab.Driver
	daemon *lab.Swerve
	server *traffic.Server

	// leaks: the test itself makes packets leave with foreign addresses.
	leaks bool
}

// newGateway builds a lab with a configured daemon that does not run yet. before
// precedes it on the command line, for instance env(1) with variables.
func newGateway(t *trial, opts lab.Options, config string, before ...string) *gateway {
	t.Helper()
	g := &gateway{trial: t, Lab: lab.NewTest(t, opts)}
	g.daemon, g.Driver = g.Drive(t, lab.Setup{Binary: daemonBinary, Prefix: before, Config: config})
	var err error
	if g.server, err = traffic.Serve(g.Internet, lab.Servers[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

// startGateway is newGateway with a running daemon whose first uplink carries both
// families.
func startGateway(t *trial, opts lab.Options, config string) *gateway {
	t.Helper()
	g := newGateway(t, opts, config)
	g.Start()
	g.Await("the first uplink to carry, and all to be up", lab.Settled)
	return g
}

// close makes the checks that every scenario ends with.
func (g *gateway) close() {
	g.server.Close()
	log := g.daemon.Log()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, bad) {
			g.Errorf("the daemon's log has %q", bad)
		}
	}
	g.noStrays()
	g.paused(g.Lateness())
}

// noStrays checks that no packet, and so no probe, left by an uplink with a source
// address of another: the wires count them at the ISPs' ends.
func (g *gateway) noStrays() {
	g.Helper()
	for i, w := range g.Wire {
		if n := w.Counters(wire.ToISP).Foreign; n > 0 && !g.leaks {
			g.Errorf("%d packets left by %s with a source address that is not its own, of %v", n, uplinkNames[i], w.ForeignSources())
			for _, f := range w.ForeignFrames() {
				g.Logf("such a packet: %s", packet.Describe(f))
			}
		}
	}
}

// swerve runs the binary in the gateway, with the daemon's socket, and returns
// what it wrote and its exit code.
func (g *gateway) swerve(args ...string) (stdout, stderr string, code int) {
	g.Helper()
	r := g.Run(commandBinary, append(args, "--socket", g.daemon.Socket())...)
	return r.Stdout, r.Stderr, r.Code
}

// entered lists the states that an uplink entered in a family, by the events.
func (g *gateway) entered(uplink int, f failover.Family) (states []control.State) {
	g.Helper()
	for _, e := range g.Events() {
		if d, ok := e.Detail.(control.HealthDetail); ok && d.Uplink == uplinkNames[uplink] && d.Family == f.String() {
			states = append(states, d.To)
		}
	}
	return states
}

// switches lists the switches so far.
func (g *gateway) switches() (all []control.SwitchDetail) {
	g.Helper()
	for _, e := range g.Events() {
		if d, ok := e.Detail.(control.SwitchDetail); ok {
			all = append(all, d)
		}
	}
	return all
}
