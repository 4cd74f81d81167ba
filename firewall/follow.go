package firewall

import "github.com/google/nftables/expr"

// register is what is known of a register while a rule is followed.
type register struct {
	// mark: it comes from the mark of the packet, flow: from that of the flow. keep
	// are the bits that still have the mark's value; the others are set's.
	mark, flow bool
	keep, set  uint32
}

// follower is told what a rule does with marks. Functions that are nil are not called.
type follower struct {
	// wrote is called with what is written into the mark of the packet, or of the flow;
	// same reports whether it comes from that mark.
	wrote func(r register, same, flow bool)
	// compared is called with what a *expr.Cmp or *expr.Range compares.
	compared func(r register, e expr.Any)
	// looked is called with what is looked up in a set. It returns the bits of all values
	// of a map, if they are known.
	looked func(r register, e *expr.Lookup) (values uint32, known bool)
	// other is called with matches and targets of iptables.
	other func(e expr.Any)
}

// follow follows one rule.
func (f follower) follow(exprs []expr.Any) {
	registers := map[uint32]register{}
	// The library does not tell which register is written into a flow's mark: it is
	// the one that was filled last.
	var last uint32
	fill := func(n uint32, r register) { registers[n], last = r, n }
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta:
			switch {
			case e.Key != expr.MetaKeyMARK:
				delete(registers, e.Register)
			case !e.SourceRegister:
				fill(e.Register, register{mark: true, keep: ^uint32(0)})
			case f.wrote != nil:
				f.wrote(registers[e.Register], registers[e.Register].mark, false)
			}
		case *expr.Ct:
			switch {
			case e.Key != expr.CtKeyMARK:
				delete(registers, e.Register)
			case !e.SourceRegister && e.Register != 0:
				fill(e.Register, register{flow: true, keep: ^uint32(0)})
			case f.wrote != nil:
				f.wrote(registers[last], registers[last].flow, true)
			}
		case *expr.Immediate:
			fill(e.Register, register{set: native(e.Data)})
		case *expr.Bitwise:
			r := registers[e.SourceRegister]
			if len(e.Mask) != 4 { // a shift, or not a mark
				r = register{}
			}
			fill(e.DestRegister, r.masked(native(e.Mask), native(e.Xor)))
		case *expr.Cmp:
			if f.compared != nil {
				f.compared(registers[e.Register], e)
			}
		case *expr.Range:
			if f.compared != nil {
				f.compared(registers[e.Register], e)
			}
		case *expr.Lookup:
			if f.looked == nil {
				continue
			}
			if values, known := f.looked(registers[e.SourceRegister], e); known && e.IsDestRegSet {
				fill(e.DestRegister, register{set: values})
			}
		case *expr.Match, *expr.Target:
			if f.other != nil {
				f.other(e)
			}
		}
	}
}

// masked returns the register after a bitwise operation.
func (r register) masked(mask, xor uint32) register {
	return register{mark: r.mark, flow: r.flow, keep: r.keep & mask, set: r.set&mask ^ xor}
}
