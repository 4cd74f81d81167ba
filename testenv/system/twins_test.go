package system

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// twins is a lab whose uplinks are two modems of one model: in IPv4 they have the same
// network, the same router, and give the gateway the same address.
var twins = lab.Options{Twins: true}

// Only their devices distinguish twins, and that is enough: probes use their own device,
// a silent one is detected and left, sessions move, answers arrive.
func TestTwins(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"black-hole", "carrier", "interface-down"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, twins, quickRecovery)
				p := g.clients(fiber)
				g.Await("the limits of twins to be reported", func(s *control.Status) bool {
					return slices.ContainsFunc(s.Problems, func(p control.Problem) bool {
						return p.Code == "same-network" && p.Object == "lte" && strings.Contains(p.Text, "both have the address 192.168.8.100")
					})
				})
				spared := g.dialBy("wan1", lab.Server4)
				f := g.Break(fiber, spec)
				g.leaves(spec, p, f.Onset)
				if s := g.Status(); s.Uplinks[lte].IPv4.State != control.Up {
					t.Errorf("the twin is %s", s.Uplinks[lte].IPv4.State)
				}
				g.lives(spared)
				g.comesBack(f, p)
			})
		})
	}
}

// Loose rp_filter, which many distributions set, does no harm to twins; strict does, and
// that is a warning.
func TestTwinsAndRPFilter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		filter   int
		severity control.Severity
	}{"strict": {1, control.Warning}, "loose": {2, control.Info}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, lab.Options{Twins: true, RPFilter: c.filter}, quickRecovery)
				g.Start()
				g.Await("the limits of twins to be reported", func(s *control.Status) bool {
					i := slices.IndexFunc(s.Problems, func(p control.Problem) bool { return p.Code == "same-network" })
					return i >= 0 && s.Problems[i].Severity == c.severity
				})
				if c.severity == control.Warning {
					return
				}
				g.Await("both to be up", lab.AllUp)
				p := g.clients(fiber)
				f := g.Break(fiber, "black-hole")
				g.leaves("black-hole", p, f.Onset)
			})
		})
	}
}

// dialBy opens a TCP connection from the gateway itself, bound to a device.
func (g *gateway) dialBy(device string, to netip.Addr) (c net.Conn) {
	g.Helper()
	d := net.Dialer{Timeout: wait.Patience, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) })
		return errors.Join(failed, err)
	}}
	err := g.Gateway.Do(func() (err error) {
		c, err = d.Dial("tcp", netip.AddrPortFrom(to, traffic.Port).String())
		return err
	})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { c.Close() })
	return c
}

// lives checks that an idle connection is still open.
func (g *gateway) lives(c net.Conn) {
	g.Helper()
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		g.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		g.Errorf("the connection from %s ended: %v", c.LocalAddr(), err)
	}
}
