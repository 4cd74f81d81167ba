package firewall

import (
	"net/netip"
)

// Translation is what source NAT makes of a flow that leaves by an uplink.
type Translation struct {
	// Masquerade: the kernel chooses the source, among the addresses of the interface.
	Masquerade bool
	// To is the source otherwise; invalid where it stays as it is.
	To netip.Addr
}

// Translate returns what becomes of the source of a flow's first packet that leaves by a
// device. It interprets the expressions that are sent to the kernel, as Classify does.
func (t Table) Translate(p Packet, c Class, out string) Translation {
	m := machine{table: t, packet: p, mark: c.Mark, ct: c.ctMark, rule: -1, out: out}
	m.header, m.transport = headers(p)
	m.run("srcnat")
	return Translation{Masquerade: m.masquerade, To: m.source}
}
