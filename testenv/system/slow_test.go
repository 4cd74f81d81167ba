package system

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// In slow motion a program runs for a moment now and then: what it does in several steps
// takes so long that much traffic meets each of the states between them. After a while it
// runs as ever, since a busy machine is slow enough.
const (
	motionRuns  = 50 * time.Microsecond
	motionRests = 15 * time.Millisecond
	motionLasts = 10 * time.Second
)

// mostBegin bounds the sessions that begin meanwhile: on a busy machine they would be what
// makes it slow.
const mostBegin = 60

// inSlowMotion runs do while what signal reaches is in slow motion.
func inSlowMotion(signal func(os.Signal) error, do func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for begun := time.Now(); time.Since(begun) < motionLasts; {
			select {
			case <-over:
				return
			case <-time.After(motionRuns):
			}
			_ = signal(syscall.SIGSTOP) // it may not run yet, or no more
			time.Sleep(motionRests)
			_ = signal(syscall.SIGCONT)
		}
	}()
	defer func() { close(over); <-ended }()
	do()
}

// slowly starts the daemon in slow motion.
func (g *gateway) slowly() {
	g.Helper()
	inSlowMotion(func(s os.Signal) error { return g.daemon.Signal(s.(syscall.Signal)) }, g.Start)
}

// tearDownSlowly ends the daemon, and has the command remove everything in slow motion.
func (g *gateway) tearDownSlowly() {
	g.Helper()
	g.Stop()
	var said strings.Builder
	cmd := g.Gateway.Command(commandBinary, "teardown", "-c", g.daemon.Config(), "--socket", g.daemon.Socket())
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := g.Gateway.Start(cmd); err != nil {
		g.Fatal(err)
	}
	inSlowMotion(cmd.Process.Signal, func() {
		if err := cmd.Wait(); err != nil {
			g.Fatalf("teardown: %v: %s", err, said.String())
		}
	})
}

// A rule of another program takes what lacks its mark, all of which has bits of ours. What
// has the mark goes on by the other uplink in each moment of a start, a restart and a
// teardown, without a lost packet.
func TestSlowStartBesideARuleForMarks(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, masqueraded, quickRecovery)
		g.shell(`for f in -4 -6; do
				ip $f rule add pref 19999 lookup main suppress_prefixlength 0; ip $f rule add pref 20000 not fwmark 1836018789 lookup 77; done
			ip -4 route add default via 198.51.100.1 dev wan1 table 77; ip -6 route add default via fe80::1 dev wan1 table 77
			nft 'table inet other { chain pre { type filter hook prerouting priority mangle; iifname "lan0" meta mark set 1836018789; }; }'`)
		p := g.newClients()
		goOn := func(when string, do func()) {
			g.Helper()
			since := time.Now()
			do()
			g.goBy(fiber, p.all()...)
			awaitResults()
			for _, s := range p.all() {
				s.undisturbed(when, since)
			}
		}
		g.goBy(fiber, p.all()...)
		goOn("the start", g.slowly)
		g.Await("fiber to carry", lab.Settled)
		goOn("a restart", func() { g.Stop(); g.slowly() })
		goOn("the teardown", g.tearDownSlowly)
	})
}

// The configuration prefers another uplink than main does. Sessions that begin while the
// daemon starts, and rarely send, stay where they began.
func TestSlowStartWithAnotherOrder(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, masqueraded, `uplinks:
  - {name: lte, interface: wan1}
  - {name: fiber, interface: wan0}
`)
		first := g.newClients()
		g.goBy(fiber, first.all()...)
		over, began := make(chan struct{}), make(chan []*session)
		go func() {
			var all []*session
			defer func() { began <- all }()
			for len(all) < mostBegin {
				select {
				case <-over:
					return
				case <-time.After(50 * time.Millisecond):
					f := failover.Families[len(all)%2]
					all = append(all, g.session(g.Client, traffic.TCPStream, lab.Servers[f], 2))
				}
			}
		}()
		g.slowly()
		close(over)
		all := <-began
		g.Await("lte to carry", lab.AllUp)
		time.Sleep(time.Second) // of two requests each
		g.Logf("%d sessions began meanwhile", len(all))
		for _, s := range append(all, first.long()...) {
			s.livedOn("the start")
		}
	})
}
