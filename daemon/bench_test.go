package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
	"swerve/testenv/fake"
	"swerve/testenv/netns"
)

// bed is a configuration of some uplinks and policies, with its links and two
// intents between which a verdict moves all traffic: the first uplink in front, and
// the first uplink lost.
type bed struct {
	setup   setup
	picture picture
	intents [2]failover.Intent
}

func newBed(b *testing.B, uplinks, policies int, index func(device string) int) bed {
	var text strings.Builder
	text.WriteString("uplinks:\n")
	for i := range uplinks {
		fmt.Fprintf(&text, "  - {name: up%d, interface: wan%d}\n", i, i)
	}
	if policies > 1 {
		text.WriteString("policies:\n")
	}
	for i := range policies - 1 {
		fmt.Fprintf(&text, "  - {name: p%d, tiers: [up%d, up%d]}\n", i, i%uplinks, (i+1)%uplinks)
	}
	cfg, found := config.Parse("bench.yaml", []byte(text.String()))
	if len(found) > 0 {
		b.Fatal(found)
	}
	s, err := newSetup(cfg, defaults{}, false, nil, state{})
	if err != nil {
		b.Fatal(err)
	}
	s.native = natives{} // flows are examined at a first start, not at a switch
	d := bed{setup: s, picture: newPicture()}
	for i, u := range s.uplinks {
		s.native[u.Name] = []netip.Prefix{}
		link := newLine(u.Interface, i+1).link
		link.Index = index(u.Interface)
		d.picture.set(u.Name, link)
	}
	for lost := range d.intents {
		d.intents[lost] = d.intent(lost == 1)
	}
	return d
}

// intent returns an intent with every uplink in order, or with the first one last
// and lost.
func (d bed) intent(lost bool) failover.Intent {
	var order []string
	for _, u := range d.setup.uplinks {
		order = append(order, u.Name)
	}
	if lost {
		order = append(order[1:], order[0])
	}
	in := failover.Intent{Generation: 1}
	for _, p := range d.setup.engine.Policies {
		out := failover.PolicyIntent{Policy: p.Name}
		for f := range out.Family {
			for _, name := range order {
				rung := failover.Rung{Shares: []failover.Share{{Uplink: name, Weight: 1}}}
				out.Family[f].Rungs = append(out.Family[f].Rungs, rung)
			}
			if lost {
				out.Family[f].Lost = order[len(order)-1:]
			}
		}
		in.Policies = append(in.Policies, out)
	}
	return in
}

// switches applies the intents in turn.
func (d bed) switches(b *testing.B, k *kernel) {
	for _, in := range d.intents {
		if a := k.apply(goal{d.setup, d.picture, in}); a.err != nil {
			b.Fatal(a.err)
		}
	}
	n := 0
	for b.Loop() {
		if a := k.apply(goal{d.setup, d.picture, d.intents[n%2]}); a.err != nil {
			b.Fatal(a.err)
		}
		n++
	}
}

var benchSizes = [...]struct{ uplinks, policies int }{{2, 1}, {8, 32}}

// BenchmarkSwitchOnFakes measures our own part of a switch, from the decision until
// the kernel is read back.
func BenchmarkSwitchOnFakes(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dx%d", size.uplinks, size.policies), func(b *testing.B) {
			d := newBed(b, size.uplinks, size.policies, func(device string) int { return int(device[3]-'0') + 1 })
			k := fake.NewKernel(func() {})
			k.Routes.Changed = func() { k.Journal.Take() }
			for i := range size.uplinks {
				k.Routes.On[i+1] = true
			}
			d.switches(b, &kernel{
				routes: k.Routes, packets: k.Packets, sysctls: k.Sysctls, hasIPv6: func() bool { return true },
			})
		})
	}
}

// BenchmarkSwitchOnAKernel measures the same on a real kernel. It runs in a process
// of its own, in whose namespace goroutines move freely between threads as in the
// daemon; under netns.NS.Do a single thread has to do all the work, which is
// slower. That process gets the flags in SWERVE_BENCH_FLAGS, such as
// -test.cpuprofile.
func BenchmarkSwitchOnAKernel(b *testing.B) {
	const inside = insideEnv + "_BENCH"
	if os.Getenv(inside) == "" {
		benchInside(b, inside)
		return
	}
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dx%d", size.uplinks, size.policies), func(b *testing.B) {
			d := newBed(b, size.uplinks, size.policies, func(device string) int {
				i, err := net.InterfaceByName(device)
				if err != nil {
					b.Fatal(err)
				}
				return i.Index
			})
			routes, err := routing.Open()
			if err != nil {
				b.Fatal(err)
			}
			defer routes.Close()
			settings, err := routing.OpenSysctls(b.TempDir()+"/sysctls.json", true)
			if err != nil {
				b.Fatal(err)
			}
			var filter firewall.Kernel
			defer filter.Close()
			d.switches(b, &kernel{routes: routes, packets: &filter, sysctls: settings, hasIPv6: routing.HasIPv6})
		})
	}
}

// benchInside runs the benchmark again in a namespace with eight uplinks.
func benchInside(b *testing.B, inside string) {
	ns := netns.New(b)
	for i := range 8 {
		dev := fmt.Sprintf("wan%d", i)
		link := newLine(dev, i+1).link
		for _, err := range []error{
			netns.Veth(ns, dev, ns, "peer"+dev), ns.SetUp(dev), ns.SetUp("peer" + dev),
			ns.AddAddr(dev, link.Family[failover.IPv4].Addresses[0]),
			ns.AddAddr(dev, netip.PrefixFrom(link.Family[failover.IPv6].Addresses[0].Addr(), 64)),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	args := []string{"-test.run=^$", "-test.bench=^BenchmarkSwitchOnAKernel$", "-test.benchmem"}
	cmd := ns.Command(os.Args[0], append(args, strings.Fields(os.Getenv("SWERVE_BENCH_FLAGS"))...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.SkipNow() // its own result is printed above
}

// BenchmarkPass measures the cost of each probe and each answer for the loop,
// beside the engine's.
func BenchmarkPass(b *testing.B) {
	r := newRig(b, twoUplinks)
	r.prepare()
	r.loop.pass()
	for b.Loop() {
		r.loop.pass()
	}
}
