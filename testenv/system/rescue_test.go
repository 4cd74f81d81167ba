package system

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// Half of the internet is gone by fiber, behind targets that answer. The first connection there
// comes through, later ones at once, by lte, and nothing else leaves fiber; also while no daemon
// runs, and a daemon that starts again keeps to it.
func TestRescue(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		more, err := lab.MoreServers(g.Lab, 2)
		if err != nil {
			t.Fatal(err)
		}
		well := more[1]
		gone := []netip.Addr{lab.Servers[0], lab.Servers[1], more[0]}
		for _, a := range append(gone, well) {
			g.greets(a)
		}
		cmd := g.ISP[fiber].Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`table inet gone { chain on { type filter hook forward priority 0; ip daddr { %s, %s } drop; ip6 daddr %s drop; }; }`,
			gone[0], gone[2], gone[1]))
		if err := g.ISP[fiber].Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("nft: %v", err)
		}
		switched := len(g.switches())
		for _, f := range failover.Families {
			g.reaches(gone[f], lte)
			g.reaches(gone[f], lte)
		}
		g.reaches(well, fiber)
		g.Await("the status to have what is rescued", func(s *control.Status) bool {
			r4, r6 := s.Uplinks[fiber].IPv4.Rescued, s.Uplinks[fiber].IPv6.Rescued
			return r4 != nil && r6 != nil && *r4 == 1 && *r6 == 1
		})
		if h := g.Status().Uplinks[fiber].IPv4.Handshakes; h == nil || h.Begun == 0 || h.Again == 0 || h.Finished == 0 {
			t.Errorf("handshakes by fiber: %+v", h)
		}
		out, stderr, _ := g.swerve("explain", "192.168.10.10", gone[0].String(), "tcp", "8080")
		if !strings.Contains(strings.Join(strings.Fields(out), " "), "this address is rescued: it left SYNs by fiber unanswered and answers by lte") {
			t.Errorf("explain: %s%s", out, stderr)
		}
		if n := len(g.switches()); n != switched {
			t.Errorf("%d switches", n-switched)
		}
		g.Kill()
		g.reaches(gone[0], lte)
		g.reaches(gone[2], lte)
		g.reaches(gone[2], lte)
		g.reaches(well, fiber)
		g.Start()
		g.Await("the status to have what is rescued", func(s *control.Status) bool {
			r4 := s.Uplinks[fiber].IPv4.Rescued
			return r4 != nil && *r4 == 2
		})
		g.reaches(gone[2], lte)
	})
}

// greets answers each connection to port 8080 of an address in the internet with where it comes
// from.
func (g *gateway) greets(a netip.Addr) {
	g.Helper()
	l, err := g.Internet.Listen("tcp", netip.AddrPortFrom(a, 8080).String())
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().Unmap())
			c.Close()
		}
	}()
}

// reaches checks that a connection of the client's comes by an uplink.
func (g *gateway) reaches(to netip.Addr, uplink int) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), 20*time.Second)
	defer cancel()
	c, err := g.Client.DialTCP(ctx, netip.AddrPortFrom(to, 8080))
	if err != nil {
		g.Errorf("%s: %v", to, err)
		return
	}
	defer c.Close()
	from, err := io.ReadAll(c)
	up := g.Uplinks[uplink]
	want := up.Public4
	if to.Is6() {
		want = up.Address6
	}
	if err != nil || string(from) != want.String() {
		g.Errorf("%s is reached from %s, %v, want %s", to, from, err, want)
	}
}
