package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/testenv/wire"
)

// Fault is something broken, from Lab.Fault until Undo.
type Fault struct {
	Spec   Spec
	Uplink int // from 0

	// Onset is the last instant at which the fault had not begun: interruptions are
	// measured from here.
	Onset time.Time
	// Reported is when the lab received the kernel's message that the gateway's link
	// had lost its carrier or was down; zero for other faults.
	Reported time.Time

	undo func() error
	once sync.Once
	err  error
}

// Undo repairs what the fault broke: cables and filters, addresses, and the routes
// that clients added. It does not restore what Swerve has to repair itself. A second
// Undo does nothing.
func (f *Fault) Undo() error {
	f.once.Do(func() {
		if err := f.undo(); err != nil {
			f.err = fmt.Errorf("lab: undo %s on uplink %d: %w", f.Spec, f.Uplink, err)
		}
	})
	return f.err
}

// Fault breaks an uplink (from 0), as ParseSpec reads it. Faults of different
// kinds may overlap.
func (lab *Lab) Fault(uplink int, spec string) (*Fault, error) {
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	if uplink < 0 || uplink >= len(lab.Uplinks) {
		return nil, fmt.Errorf("lab: fault %s: no uplink %d", s, uplink)
	}
	f := &Fault{Spec: s, Uplink: uplink, Onset: time.Now(), undo: func() error { return nil }}
	if err := lab.begin(f); err != nil {
		return nil, fmt.Errorf("lab: fault %s on uplink %d: %w", s, uplink, err)
	}
	return f, nil
}

// begin causes the fault.
func (lab *Lab) begin(f *Fault) error {
	w, s := lab.Wire[f.Uplink], f.Spec
	switch s.Kind {
	case Carrier:
		return lab.pull(f)
	case InterfaceDown:
		return lab.setDown(f)
	case BlackHole, GatewayDead:
		f.Onset = w.SetFilter(filterOf(s))
		f.undo = func() error { w.SetFilter(wire.PassAll); return nil }
		return nil
	case Stall:
		f.Onset = w.Hold(wire.Both, s.Duration)
		f.undo = func() error { w.Hold(wire.Both, 0); return nil }
		return nil
	case Loss, LossOut, LossIn, Delay, Jitter, Rate:
		lab.impair(f)
		return nil
	case Flap:
		lab.flap(f)
		return nil
	case AddressChange:
		return lab.changeAddress(f)
	case GatewayChange:
		up := lab.Uplinks[f.Uplink]
		f.undo = func() error { return changeRouter(lab, f.Uplink, up.Second4, up.Router4) }
		return changeRouter(lab, f.Uplink, up.Router4, up.Second4)
	case AddressRemoval:
		up := lab.Uplinks[f.Uplink]
		f.undo = func() error { return lab.restore(f.Uplink) }
		return lab.unlease(f.Uplink, up.Address4, up.Address6)
	case DeleteRules, DeleteRoutes, FlushRuleset:
		return lab.deleteForeign(s.Kind)
	case TargetDead:
		return lab.silence(f)
	}
	panic(fmt.Sprintf("lab: fault %q is listed but not implemented", s.Kind))
}

func filterOf(s Spec) wire.Filter {
	switch {
	case s.Kind == GatewayDead:
		return wire.DropAll
	case s.Family == "ipv4":
		return wire.DropBeyond4
	case s.Family == "ipv6":
		return wire.DropBeyond6
	}
	return wire.DropBeyond
}

// impair changes one property of an uplink's paths; the undo restores that one.
func (lab *Lab) impair(f *Fault) {
	w, s := lab.Wire[f.Uplink], f.Spec
	property := func(from, to *wire.Path) {
		switch s.Kind {
		case Delay:
			to.Delay = from.Delay
		case Jitter:
			to.Jitter = from.Jitter
		case Rate:
			to.Rate = from.Rate
		default:
			to.Loss = from.Loss
		}
	}
	impaired := wire.Path{Delay: s.Duration, Jitter: s.Duration, Rate: s.BitRate, Loss: s.Part}
	before := map[wire.Direction]wire.Path{}
	for _, dir := range []wire.Direction{wire.ToISP, wire.ToGateway} {
		if s.Kind == LossOut && dir != wire.ToISP || s.Kind == LossIn && dir != wire.ToGateway {
			continue
		}
		before[dir] = w.Path(dir)
		w.Change(dir, func(p *wire.Path) { property(&impaired, p) })
	}
	f.undo = func() error {
		for dir, old := range before {
			w.Change(dir, func(p *wire.Path) { property(&old, p) })
		}
		return nil
	}
}

func (lab *Lab) pull(f *Fault) error {
	w := lab.Wire[f.Uplink]
	f.undo = func() error { return w.SetCarrier(true) }
	return lab.untilReported(f, func() error { return w.SetCarrier(false) })
}

func (lab *Lab) setDown(f *Fault) error {
	link := lab.Uplinks[f.Uplink].Interface
	f.undo = func() error { return lab.restore(f.Uplink) }
	return lab.untilReported(f, func() error { return lab.Gateway.SetDown(link) })
}

// flap pulls the plug repeatedly, for the first half of each period. The undo ends it
// and leaves the plug in.
func (lab *Lab) flap(f *Fault) {
	w := lab.Wire[f.Uplink]
	ctx, cancel := context.WithCancel(lab.life)
	done := make(chan error, 1)
	lab.tasks.Go(func() { done <- flapping(ctx, w, f.Spec.Times, f.Spec.Duration/2) })
	f.undo = func() error { cancel(); return <-done }
}

func flapping(ctx context.Context, w *wire.Wire, times int, half time.Duration) error {
	next := time.Now()
	for range times {
		for _, on := range []bool{false, true} {
			if err := w.SetCarrier(on); err != nil {
				return err
			}
			next = next.Add(half)
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return w.SetCarrier(true)
			}
		}
	}
	return nil
}

// changeAddress simulates a lease with other addresses: the old ones are removed
// first, as common clients do.
func (lab *Lab) changeAddress(f *Fault) error {
	up := lab.Uplinks[f.Uplink]
	if err := lab.unlease(f.Uplink, up.Address4, up.Address6); err != nil {
		return err
	}
	f.undo = func() error {
		if err := lab.unlease(f.Uplink, up.Other4, up.Other6); err != nil {
			return err
		}
		return lab.restore(f.Uplink)
	}
	if err := lab.lease(f.Uplink, up.Other4); err != nil {
		return err
	}
	if !lab.HasIPv6(f.Uplink) {
		return nil
	}
	return lab.staticIPv6(f.Uplink, up.Other6)
}

// changeRouter gives an ISP's router another address, and renews the lease with it.
func changeRouter(lab *Lab, i int, from, to netip.Addr) error {
	up := lab.Uplinks[i]
	if err := lab.ISP[i].AddAddr(customerLink, within(to, up.Prefix4)); err != nil {
		return err
	}
	if err := lab.ISP[i].DelAddr(customerLink, within(from, up.Prefix4)); err != nil {
		return err
	}
	return leaseBy(lab, i, up.Address4, to)
}

// silence makes the internet drop packets to a target: without its address, they
// match a blackhole route.
func (lab *Lab) silence(f *Fault) error {
	ns, target := lab.Internet, f.Spec.Target
	swallow := &netlink.Route{Dst: ipNet(alone(target)), Type: unix.RTN_BLACKHOLE}
	if err := ns.Netlink().RouteAdd(swallow); err != nil {
		return fmt.Errorf("add blackhole %s: %w", target, err)
	}
	f.undo = func() error {
		return errors.Join(ns.AddAddr("lo", alone(target)), ns.Netlink().RouteDel(swallow))
	}
	f.Onset = time.Now()
	return ns.DelAddr("lo", alone(target))
}
