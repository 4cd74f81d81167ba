package firewall

import "net/netip"

// Course is what the table makes of the first packet of a flow.
type Course struct {
	Class
	// Mark is the packet's mark once it has met the chains before routing.
	Mark uint32

	machine machine
}

// Follow is [Table.Classify] with what is needed to follow the packet further.
func (t Table) Follow(p Packet) Course {
	m := t.enter(p)
	return Course{Class: m.class(), Mark: m.mark, machine: m}
}

// Translation is what source NAT makes of a flow that leaves by an uplink.
type Translation struct {
	// Masquerade: the kernel chooses the source, among the addresses of the interface.
	Masquerade bool
	// To is the source otherwise; invalid where it stays as it is.
	To netip.Addr
}

// Translate returns what becomes of the packet's source where it leaves by a device. It
// interprets the expressions that are sent to the kernel, as Classify does.
func (c Course) Translate(out string) Translation {
	m := c.machine
	m.out, m.masquerade, m.source = out, false, netip.Addr{}
	m.run("srcnat")
	return Translation{Masquerade: m.masquerade, To: m.source}
}
