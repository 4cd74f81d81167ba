package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

// road is a client, a gateway with its uplinks, and a server, connected by veths: the
// labs' wires run in user space, and a measurement over them would measure only them.
type road struct {
	client, gateway, server *netns.NS
	uplinks                 int
	stop                    func()
}

// The road's addresses, IPv4 only.
var (
	roadClient = netip.MustParsePrefix("192.168.10.10/24")
	roadLAN    = netip.MustParsePrefix("192.168.10.1/24")
)

// roadWAN and roadISP are the ends of an uplink.
func roadWAN(uplink int) netip.Prefix { return roadNetwork(uplink, 2) }
func roadISP(uplink int) netip.Prefix { return roadNetwork(uplink, 1) }

func roadNetwork(uplink int, host byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(uplink), host}), 24)
}

// newRoad builds a road whose gateway only forwards.
func newRoad(uplinks int) (*road, error) {
	r := &road{uplinks: uplinks, stop: func() {}}
	for _, ns := range []**netns.NS{&r.client, &r.gateway, &r.server} {
		var err error
		if *ns, err = netns.Open(); err != nil {
			r.close()
			return nil, err
		}
	}
	if err := r.build(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *road) close() {
	r.stop()
	for _, ns := range []*netns.NS{r.client, r.gateway, r.server} {
		if ns != nil {
			ns.Close()
		}
	}
}

func (r *road) build() error {
	if err := r.gateway.SetSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	if err := cable(r.client, "eth0", roadClient, r.gateway, "lan0", roadLAN); err != nil {
		return err
	}
	if err := defaultVia(r.client, "eth0", roadLAN.Addr(), 0); err != nil {
		return err
	}
	for i := range r.uplinks {
		link := fmt.Sprintf("wan%d", i)
		if err := cable(r.gateway, link, roadWAN(i), r.server, fmt.Sprintf("isp%d", i), roadISP(i)); err != nil {
			return err
		}
		if err := defaultVia(r.gateway, link, roadISP(i).Addr(), 100*(i+1)); err != nil {
			return err
		}
	}
	for _, a := range append([]netip.Addr{lab.Server4}, lab.Targets...) {
		if a.Is4() {
			if err := r.server.AddAddr("lo", netip.PrefixFrom(a, 32)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cable connects two namespaces.
func cable(a *netns.NS, nameA string, addrA netip.Prefix, b *netns.NS, nameB string, addrB netip.Prefix) error {
	if err := netns.Veth(a, nameA, b, nameB); err != nil {
		return err
	}
	for _, end := range []struct {
		ns   *netns.NS
		name string
		addr netip.Prefix
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		if err := end.ns.SetUp(end.name); err != nil {
			return err
		}
		if err := end.ns.AddAddr(end.name, end.addr); err != nil {
			return err
		}
	}
	return nil
}

func defaultVia(ns *netns.NS, name string, hop netip.Addr, metric int) error {
	link, err := ns.Netlink().LinkByName(name)
	if err != nil {
		return err
	}
	all, err := netlink.ParseIPNet("0.0.0.0/0")
	if err != nil {
		return err
	}
	return ns.Netlink().RouteAdd(&netlink.Route{
		Dst: all, Gw: hop.AsSlice(), LinkIndex: link.Attrs().Index, Priority: metric})
}

// masquerade is the peer: one rule, with conntrack.
const masquerade = `table ip peer {
  chain post {
    type nat hook postrouting priority srcnat; policy accept;
    oifname { "wan0", "wan1" } masquerade
  }
}
`

// byRule configures the gateway as one without Swerve.
func (r *road) byRule() error {
	cmd := r.gateway.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(masquerade)
	var said strings.Builder
	cmd.Stderr = &said
	err := r.gateway.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, said.String())
	}
	return nil
}

// bySwerve starts the daemon in the gateway and waits until the first two uplinks, which
// carry, are up. more is added to its configuration.
func (r *road) bySwerve(ctx context.Context, binary, more string) error {
	folder, err := os.MkdirTemp("", "swerve-bench-")
	if err != nil {
		return err
	}
	r.stop = func() { os.RemoveAll(folder) }
	config := fmt.Sprintf("state: %s/state\ncontrol: {group: \"\"}\nuplinks:\n", folder)
	for i := range r.uplinks {
		config += fmt.Sprintf("  - {name: wan%d, interface: wan%d, ipv6: false}\n", i, i)
	}
	file, socket := filepath.Join(folder, "swerve.yaml"), filepath.Join(folder, "swerve.sock")
	if err := os.WriteFile(file, []byte(config+more), 0o644); err != nil {
		return err
	}
	cmd := r.gateway.Command(binary, "run", "-c", file, "--socket", socket)
	if err := r.gateway.Start(cmd); err != nil {
		return err
	}
	r.stop = func() { end(cmd); os.RemoveAll(folder) }
	api := control.Dial(socket)
	defer api.Close()
	return wait.Until(ctx, "the uplinks to be up", func() bool {
		s, err := api.Status(ctx)
		return err == nil && len(s.Uplinks) == r.uplinks && s.Uplinks[0].IPv4.State == control.Up && s.Uplinks[1].IPv4.State == control.Up
	})
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // or it has ended by itself
	_ = cmd.Wait()
}
