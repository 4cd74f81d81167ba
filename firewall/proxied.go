package firewall

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// proxy is a rule of another program that hands packets to a transparent proxy on this
// machine (tproxy), by the conditions in it that are understood. A zero field is no
// condition: what cannot be excluded may be handed over.
type proxy struct {
	protocol []byte
	ports    []uint16 // destination
	device   int      // by which they come in
	to       netip.Addr
}

// mostProxies bounds the rules that are kept; beyond it all flows may be proxied.
const mostProxies = 256

// takes reports whether the rule may take packets of a flow that come in by a device.
func (p proxy) takes(f flow, device int) bool {
	return (len(p.protocol) == 0 || slices.Contains(p.protocol, f.protocol)) && (len(p.ports) == 0 || slices.Contains(p.ports, f.ports[1])) &&
		(p.device == 0 || p.device == device) && (!p.to.IsValid() || p.to == f.dst)
}

// proxied reports whether a flow that comes in by a device may end at a transparent proxy
// on this machine: by the mark of a rule its packets are delivered here, and a rule of the
// packet filter may hand them over. Such a flow is answered by that proxy and leaves by no
// uplink.
func (w ways) proxied(f flow, device int) bool {
	if device == 0 || !slices.ContainsFunc(w.marks, func(mark uint32) bool {
		return w.ask(question{to: f.dst, from: f.src, device: device, mark: mark}).local
	}) {
		return false
	}
	if *w.proxies == nil {
		*w.proxies = readProxies(w.handle)
	}
	return slices.ContainsFunc(*w.proxies, func(p proxy) bool { return p.takes(f, device) })
}

// readProxies returns the rules that hand packets to transparent proxies; never nil. What
// cannot be read is taken for none.
func readProxies(h *rtnl.Handle) []proxy {
	out := []proxy{}
	var k Kernel
	defer k.Close()
	places, err := k.rulesWith(proxying)
	if err != nil || len(places) == 0 {
		return out
	}
	if len(places) > mostProxies {
		return []proxy{{}}
	}
	conn, err := nftables.New()
	if err != nil {
		return out
	}
	index := func(name string) int {
		if link, err := h.LinkByName(name); err == nil {
			return link.Attrs().Index
		}
		return -1
	}
	for _, at := range places {
		t := &nftables.Table{Name: at.table, Family: nftables.TableFamily(at.family)}
		rules, err := decoded(func() ([]*nftables.Rule, error) { return conn.GetRules(t, &nftables.Chain{Name: at.chain, Table: t}) })
		i := slices.IndexFunc(rules, func(r *nftables.Rule) bool { return r.Handle == at.handle })
		if err != nil || i < 0 {
			continue // it is gone
		}
		out = append(out, proxyOf(rules[i].Exprs, func(set string) [][]byte { return keysOf(conn, t, set) }, index))
	}
	return out
}

// proxying reports whether a rule has the statement tproxy, which the library leaves out, or
// iptables' target of that name.
func proxying(exprs []byte) bool {
	return bytes.Contains(exprs, []byte("tproxy\x00")) || bytes.Contains(exprs, []byte("TPROXY\x00"))
}

// keysOf returns the keys of a set; none if it has intervals, or cannot be read.
func keysOf(conn *nftables.Conn, t *nftables.Table, name string) (keys [][]byte) {
	set, err := decoded(func() (*nftables.Set, error) { return conn.GetSetByName(t, name) })
	if err != nil || set.Interval || set.Concatenation {
		return nil
	}
	elements, err := decoded(func() ([]nftables.SetElement, error) { return conn.GetSetElements(set) })
	if err != nil {
		return nil
	}
	for _, e := range elements {
		keys = append(keys, e.Key)
	}
	return keys
}

// proxyOf returns the conditions of a rule; those that it does not know are left out.
func proxyOf(exprs []expr.Any, keys func(set string) [][]byte, index func(device string) int) proxy {
	var p proxy
	registers := map[uint32]func(values [][]byte){} // what a condition on it says
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta:
			switch {
			case e.SourceRegister:
			case e.Key == expr.MetaKeyL4PROTO:
				registers[e.Register] = p.ofProtocols
			case e.Key == expr.MetaKeyIIFNAME:
				registers[e.Register] = func(values [][]byte) { p.byDevice(values, index) }
			default:
				delete(registers, e.Register)
			}
		case *expr.Payload:
			delete(registers, e.DestRegister)
			switch {
			case e.Base == expr.PayloadBaseTransportHeader && e.Offset == 2 && e.Len == 2:
				registers[e.DestRegister] = p.toPorts
			case e.Base == expr.PayloadBaseNetworkHeader && e.Offset == 9 && e.Len == 1: // of IPv4
				registers[e.DestRegister] = p.ofProtocols
			case e.Base == expr.PayloadBaseNetworkHeader && (e.Offset == 16 && e.Len == 4 || e.Offset == 24 && e.Len == 16):
				registers[e.DestRegister] = p.toAddress
			}
		case *expr.Cmp:
			if said := registers[e.Register]; said != nil && e.Op == expr.CmpOpEq {
				said([][]byte{e.Data})
			}
		case *expr.Lookup:
			if said := registers[e.SourceRegister]; said != nil && !e.Invert && !e.IsDestRegSet {
				said(keys(e.SetName))
			}
		case *expr.Immediate:
			delete(registers, e.Register)
		case *expr.Bitwise:
			delete(registers, e.DestRegister)
		}
	}
	return p
}

func (p *proxy) ofProtocols(values [][]byte) {
	for _, v := range values {
		if len(v) > 0 {
			p.protocol = append(p.protocol, v[0])
		}
	}
}

func (p *proxy) toPorts(values [][]byte) {
	for _, v := range values {
		if len(v) >= 2 {
			p.ports = append(p.ports, binary.BigEndian.Uint16(v))
		}
	}
}

func (p *proxy) toAddress(values [][]byte) {
	if len(values) == 1 {
		p.to, _ = netip.AddrFromSlice(values[0])
	}
}

// byDevice takes no name that stands for several, such as "lan*".
func (p *proxy) byDevice(values [][]byte, index func(device string) int) {
	if len(values) == 1 && len(values[0]) == unix.IFNAMSIZ && strings.HasSuffix(string(values[0]), "\x00") {
		p.device = index(unix.ByteSliceToString(values[0]))
	}
}
