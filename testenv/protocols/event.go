package main

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/control"
	"swerve/testenv/lab"
)

// scene is a lab with two uplinks, fiber and lte, and what routes in its gateway.
type scene struct {
	*lab.Lab
	swerve *lab.Swerve // nil: the kernel alone
	places places
	hub    *ecdh.PublicKey // of its tunnels; nil: there is none yet
}

// Close ends all.
func (s *scene) Close() {
	s.places.close()
	s.Lab.Close()
}

// config has the defaults, but a short memory of quality and an early return, so that an
// event does not take minutes. How a loss is detected stays the default.
const config = lab.TwoUplinks + `health: {window: 5s, latency: {degraded: 150ms, clear: 100ms}, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// newScene builds a lab in whose gateway the daemon of a binary runs, or the kernel is
// alone where that is empty. Close the scene when done.
func newScene(ctx context.Context, binary string) (*scene, error) {
	if binary == "" {
		return kernelAlone()
	}
	l, err := lab.New(lab.Options{})
	if err != nil {
		return nil, err
	}
	s := &scene{Lab: l}
	if s.swerve, err = l.NewSwerve(lab.Setup{Binary: binary, Config: config}); err == nil {
		err = s.swerve.Start()
	}
	if err == nil {
		err = s.await(ctx, "fiber to carry, and all to be up", lab.Settled)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return s, nil
}

// kernelAlone builds a lab whose gateway has two default routes of different metrics,
// masquerades by both, forwards, and routes by no link that has lost its carrier.
func kernelAlone() (*scene, error) {
	l, err := lab.New(lab.Options{Firewall: lab.FirewallMasquerade})
	if err != nil {
		return nil, err
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if err := l.Gateway.SetSysctl("net/"+family+"/conf/all/ignore_routes_with_linkdown", "1"); err != nil {
			l.Close()
			return nil, err
		}
	}
	return &scene{Lab: l}, nil
}

// await waits until the daemon's status meets a condition; where there is no daemon it
// returns at once.
func (s *scene) await(ctx context.Context, what string, holds func(*control.Status) bool) error {
	if s.swerve == nil {
		return nil
	}
	_, err := lab.Await(ctx, s.swerve, what, holds)
	return err
}

// event is something that happens to the first uplink while sessions are on it.
type event struct {
	name  string
	title string // in the document
	what  string // a sentence without its full stop
	// short: the test plays it, too.
	short bool
	// loss: sessions cannot stay. At others all of them go on, unbroken.
	loss bool
	// before prepares the lab, before sessions begin; nil: nothing.
	before func(context.Context, *scene) error
	// begin has it happen.
	begin func(context.Context, *scene) error
	// effect is what the daemon's status says once it has happened.
	effect func(*control.Status) bool
	// watch is how long sessions are watched, from the onset.
	watch time.Duration
}

// events lists them in the order of the tables.
func events() []event {
	return []event{
		{
			name: "carrier", short: true, title: "Carrier loss", what: "The plug of the uplink is pulled", loss: true,
			begin: fault("carrier"), effect: lab.CarriedBy("lte"), watch: 40 * time.Second,
		},
		{
			name: "black-hole", short: true, title: "Black-hole", what: "Nothing passes beyond the provider's router, which itself answers", loss: true,
			begin: fault("black-hole"), effect: lab.CarriedBy("lte"), watch: 12 * time.Second,
		},
		{
			name: "stall", short: true, title: "Stall", what: "No packet is delivered for 300 ms, and none is lost",
			begin: fault("stall=300ms"), effect: lab.Settled, watch: 6 * time.Second,
		},
		{
			name: "degraded", title: "Degraded", what: "Each way takes 100 ms more, which is over the limit: new flows leave by the other uplink",
			begin: fault("delay=100ms"), effect: degraded, watch: 12 * time.Second,
		},
		{
			name: "failback", title: "Failback", what: "The uplink comes back, and new flows return to it. The sessions began on the other one",
			before: lose, begin: regain, effect: lab.Settled, watch: 12 * time.Second,
		},
		{
			name: "drain", title: "Drain", what: "The operator drains the uplink; without a daemon, he adds better default routes by the other one",
			begin: drain, effect: lab.CarriedBy("lte"), watch: 8 * time.Second,
		},
	}
}

// fault returns the beginning of a fault of the first uplink, which stays.
func fault(spec string) func(context.Context, *scene) error {
	return func(_ context.Context, s *scene) error {
		_, err := s.Fault(lab.Fiber, spec)
		return err
	}
}

func degraded(s *control.Status) bool {
	u := s.Uplinks[lab.Fiber]
	return u.IPv4.State == control.Degraded && u.IPv6.State == control.Degraded && lab.Carries(s, "lte")
}

// lose pulls the first uplink's plug, and waits until the other one carries.
func lose(ctx context.Context, s *scene) error {
	if err := s.Wire[lab.Fiber].SetCarrier(false); err != nil {
		return err
	}
	if s.swerve == nil {
		return s.preferLTE(s.Gateway.Netlink().RouteAdd)
	}
	return s.await(ctx, "lte to carry", lab.CarriedBy("lte"))
}

// regain undoes lose.
func regain(_ context.Context, s *scene) error {
	if err := s.Wire[lab.Fiber].SetCarrier(true); err != nil {
		return err
	}
	if s.swerve == nil {
		return s.preferLTE(s.Gateway.Netlink().RouteDel)
	}
	return nil
}

func drain(ctx context.Context, s *scene) error {
	if s.swerve == nil {
		return s.preferLTE(s.Gateway.Netlink().RouteAdd)
	}
	_, err := s.swerve.API().Drain(ctx, control.Order{Uplink: "fiber"})
	return err
}

// preferLTE has the kernel alone add or delete default routes by the second uplink that
// it prefers to all others: what an operator can do by hand.
func (s *scene) preferLTE(change func(*netlink.Route) error) error {
	up := s.Uplinks[lab.LTE]
	link, err := s.Gateway.Netlink().LinkByName(up.Interface)
	if err != nil {
		return err
	}
	for _, router := range []netip.Addr{up.Router4, up.Router6} {
		all := &net.IPNet{IP: make(net.IP, router.BitLen()/8), Mask: make(net.IPMask, router.BitLen()/8)}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: router.AsSlice(), Priority: 10}
		if err := change(route); err != nil {
			return fmt.Errorf("change the default route via %s: %w", router, err)
		}
	}
	return nil
}
