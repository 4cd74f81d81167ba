package system

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

var videoSet = quickRecovery + `policies: [{name: guests, tiers: [lte]}]
sets: {video: {}}
rules: [{to: {set: video}, use: guests}]
`

// dnsmasq(8) answers for a name and adds the addresses to a set; traffic to them goes by
// the policy of the rule that names it. Flows keep their way, and the set its elements,
// over a reload, a foreign flush and a repair.
func TestDnsmasqFillsASet(t *testing.T) {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		program = "/usr/sbin/dnsmasq"
	}
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, videoSet)
		g.leaks = true // while nothing masquerades
		folder, err := os.MkdirTemp("", "dnsmasq")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(folder) })
		config := fmt.Sprintf(`keep-in-foreground
no-resolv
no-hosts
bind-interfaces
listen-address=127.0.0.1
port=5353
user=root
pid-file=%s
host-record=stream.example,%s,%s
nftset=/stream.example/4#inet#swerve#set_video4,6#inet#swerve#set_video6
`, filepath.Join(folder, "pid"), lab.Server4, lab.Server6)
		// A name that is answered from records of its own is not added, so another one asks it.
		upstream := filepath.Join(folder, "upstream.conf")
		resolver := filepath.Join(folder, "resolver.conf")
		write := func(name, content string) {
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(upstream, config)
		write(resolver, fmt.Sprintf(`keep-in-foreground
no-resolv
no-hosts
bind-interfaces
listen-address=127.0.0.1
port=5354
user=root
pid-file=%s
server=127.0.0.1#5353
nftset=/stream.example/4#inet#swerve#set_video4,6#inet#swerve#set_video6
`, filepath.Join(folder, "pid2")))
		for _, file := range []string{upstream, resolver} {
			cmd := g.Gateway.Command(program, "--conf-file="+file)
			if err := g.Gateway.Start(cmd); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		}
		before := g.clients(fiber)
		g.askFor("stream.example")
		inSet := func(s *control.Status) bool {
			return len(s.Sets) == 1 && s.Sets[0].IPv4 != nil && *s.Sets[0].IPv4 == 1 && s.Sets[0].IPv6 != nil && *s.Sets[0].IPv6 == 1
		}
		p := g.clients(lte)
		g.goBy(fiber, before.udp[:]...)
		g.Configure(strings.Replace(videoSet, "use: guests}", "use: guests}, {proto: 47, use: guests}", 1))
		if _, stderr, code := g.swerve("reload"); code != 0 {
			g.Fatalf("reload: %s", stderr)
		}
		g.goBy(lte, p.fresh[:]...)
		g.Await("the elements to be read, each minute", inSet)
		if r := g.Run("nft", "delete", "table", "inet", "swerve"); r.Code != 0 {
			g.Fatalf("nft: %s", r.Stderr)
		}
		g.goBy(lte, p.fresh[:]...)
		g.goBy(fiber, before.udp[:]...)
	})
}

// askFor asks dnsmasq for a name until its addresses are in the set.
func (g *gateway) askFor(name string) {
	g.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return g.Gateway.DialUDP(netip.MustParseAddrPort("127.0.0.1:5354"))
	}}
	for _, f := range failover.Families {
		g.Until("the name's address in the set", func() bool {
			ctx, cancel := context.WithTimeout(g.Context(), 2*time.Second)
			defer cancel()
			_, _ = resolver.LookupNetIP(ctx, [2]string{"ip4", "ip6"}[f], name+".")
			r := g.Run("nft", "list", "set", "inet", "swerve", [2]string{"set_video4", "set_video6"}[f])
			return r.Code == 0 && strings.Contains(r.Stdout, lab.Servers[f].String())
		})
	}
}
