package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"swerve/config"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// usedBits are bits of marks that another program uses.
type usedBits struct {
	Bits uint32 `json:"bits"`
	// By says what uses them: a rule or a chain.
	By string `json:"by"`
	// Seen is when that was last seen, to the day.
	Seen time.Time `json:"seen"`
}

// What others use of marks is remembered, so that masks which are chosen at a boot do
// without the bits of programs that start later. More uses than that are left out.
const (
	mostUsedMarks = 64
	usedMarksAge  = 90 * 24 * time.Hour
	usedMarksDay  = 24 * time.Hour
)

// noteUses returns what is known of the uses, with those that are seen now: each once
// by its bits, without those that were not seen for long.
func noteUses(known, now []usedBits, today time.Time) []usedBits {
	var out []usedBits
	for _, u := range known {
		age := today.Sub(u.Seen)
		i := slices.IndexFunc(now, func(n usedBits) bool { return n.Bits == u.Bits })
		switch {
		case i >= 0 && (age < 0 || age >= usedMarksDay):
			u.By, u.Seen = now[i].By, storedTime(today)
		case i < 0 && age >= usedMarksAge:
			continue
		}
		out = append(out, u)
	}
	for _, n := range now {
		same := func(u usedBits) bool { return u.Bits == n.Bits }
		if n.Bits != 0 && len(out) < mostUsedMarks && !slices.ContainsFunc(out, same) {
			n.Seen = storedTime(today)
			out = append(out, n)
		}
	}
	return out
}

// ruleUses returns what rules of other programs use of marks, each once by its bits:
// thousands of rules mostly use the same few, and this is asked for after each change.
func ruleUses(rules []routing.OtherRule) []usedBits {
	var out []usedBits
	seen := map[uint32]bool{}
	for _, r := range rules {
		if b := r.MarkBits(); b != 0 && !seen[b] {
			seen[b] = true
			out = append(out, usedBits{Bits: b, By: fmt.Sprintf("the rule %q", r)})
		}
	}
	return out
}

// theChain begins what says that a chain uses marks.
const theChain = "the chain "

// chainUses returns what the packet filter's rules of other programs use of marks.
func chainUses(uses firewall.MarkUses) []usedBits {
	var out []usedBits
	for _, u := range uses.Others {
		out = append(out, usedBits{Bits: u.Bits, By: theChain + strconv.Quote(u.Where)})
	}
	return out
}

// layout is the layout of a configuration with the masks that are in use, unless it has
// masks of its own.
func (s state) layout(cfg *config.Config) lane.Layout {
	l := cfg.Layout()
	if other, ok := l.WithMarkMask(s.MarkMask); ok && cfg.Kernel.AutoMasks {
		return other
	}
	return l
}

// takeMasks sets the masks in use at a start. What an earlier run has left in the kernel
// under other masks is removed, as by a teardown: its marks would be read as what they
// are not, for as long as the flows last. It returns what is left.
func (l *loop) takeMasks(cfg *config.Config, have routing.State) (routing.State, error) {
	held := l.chooseMasks(cfg, have)
	former, ok := cfg.Layout().WithMarkMask(held)
	if !ok || held == l.state.MarkMask {
		return have, nil
	}
	l.reporter.remarked(held, l.state.MarkMask)
	kernel := l.enforcer.kernel
	if err := remove(kernel.routes, kernel.packets, former); err != nil {
		return have, fmt.Errorf("daemon: remove what an earlier run has marked by kernel.mark_mask %#08x: %w", held, err)
	}
	return kernel.routes.Read()
}

// chooseMasks sets the masks in use at a start: those of the configuration, or those
// that an earlier run has left in the kernel, or if there is nothing of ours in it some
// whose bits nobody uses. It returns the mask of lanes that an earlier run has left.
func (l *loop) chooseMasks(cfg *config.Config, have routing.State) (held uint32) {
	uses := l.readUses()
	held = standingMask(cfg, have, uses, l.state)
	switch {
	case !cfg.Kernel.AutoMasks:
		l.state.MarkMask = cfg.Kernel.MarkMask
	case held != 0:
		l.state.MarkMask = held
	default:
		l.unmarked = true
		l.noteFlowMarks(cfg)
		l.state.MarkMask = freeMask(cfg, l.state.UsedMarks)
	}
	return held
}

// noteFlowMarks remembers the bits that flows have in their marks where nothing of ours is
// in the kernel; those of the masks before may be what is left of an earlier run.
func (l *loop) noteFlowMarks(cfg *config.Config) {
	marks, err := l.enforcer.kernel.packets.FlowMarks()
	if err != nil {
		l.log.Debug("look for marks of flows", "err", err)
	}
	var before uint32
	if l.state.MarkMask != 0 {
		before = l.state.layout(cfg).CTMask
	}
	var uses []usedBits
	for _, m := range marks {
		m &^= before
		uses = append(uses, usedBits{Bits: m, By: theFlows}, usedBits{Bits: wholeBytes(m), By: theFlows})
	}
	l.state.UsedMarks = noteUses(l.state.UsedMarks, uses, l.clock.today())
}

// theFlows says that flows have the bits.
const theFlows = "the marks of connections"

// wholeBytes returns all bits of the bytes that have some: a mark does not show its mask,
// which often is a byte.
func wholeBytes(mark uint32) (out uint32) {
	for shift := 0; shift < 32; shift += 8 {
		if mark>>shift&0xff != 0 {
			out |= 0xff << shift
		}
	}
	return out
}

// mayChooseMasks reports whether nothing in the kernel has marks of ours yet.
func mayChooseMasks(l *loop) bool { return l.unmarked && !l.enforcer.kernel.standing }

// chooseAnew chooses again before anything is marked, as after a start.
func (l *loop) chooseAnew(cfg *config.Config) {
	l.readUses()
	l.state.MarkMask = cfg.Kernel.MarkMask
	if cfg.Kernel.AutoMasks {
		l.state.MarkMask = freeMask(cfg, l.state.UsedMarks)
	}
}

// readUses reads and remembers what other programs use of marks. What cannot be read is
// not known; the rest is.
func (l *loop) readUses() firewall.MarkUses {
	kernel := l.enforcer.kernel
	uses, unread := kernel.packets.MarkUses()
	rules, err := kernel.routes.OtherRules()
	if err = errors.Join(unread, err); err != nil {
		l.log.Warn("look for marks of other programs", "err", err)
	}
	l.state.UsedMarks = noteUses(l.state.UsedMarks, slices.Concat(ruleUses(rules), chainUses(uses)), l.clock.today())
	return uses
}

// standingMask is the mask of the lanes that an earlier run has left in marks: as the
// kernel's rules have it, or our table, or what is remembered where neither tells; 0 if
// there is nothing of ours in the kernel.
func standingMask(cfg *config.Config, have routing.State, uses firewall.MarkUses, past state) uint32 {
	if m := have.MarkMask(cfg.Layout()); m != 0 {
		return m
	}
	if uses.Ours != 0 || have.Empty() {
		return uses.Ours
	}
	if past.MarkMask != 0 {
		return past.MarkMask
	}
	return cfg.Kernel.MarkMask
}

// freeMask returns the mask of lanes that is best where others use those bits.
func freeMask(cfg *config.Config, used []usedBits) uint32 {
	l, _ := avoiding(cfg, used)
	return l.MarkMask
}

func avoiding(cfg *config.Config, used []usedBits) (lane.Layout, bool) {
	var bits []uint32
	for _, u := range used {
		bits = append(bits, u.Bits)
	}
	return cfg.Layout().Avoiding(bits, ruleMarks(cfg))
}

// ruleMarks returns the bits of packets' marks that the configuration's rules look at.
func ruleMarks(cfg *config.Config) uint32 {
	var out uint32
	for _, r := range cfg.Rules {
		if r.Mark.Mask|cfg.Kernel.MarkMask == ^uint32(0) { // a value; the decoder took our bits out of its mask
			out |= r.Mark.Value
		} else {
			out |= r.Mark.Mask
		}
	}
	return out
}

// mostUsers is how many users of bits are named in a problem.
const mostUsers = 3

// usersOf names those whose bits are among those of a layout; empty if there are none.
func usersOf(l lane.Layout, used []usedBits) string {
	var names []string
	more := 0
	for _, u := range used {
		switch {
		case !l.Meets(u.Bits) || slices.Contains(names, u.By):
		case len(names) < mostUsers:
			names = append(names, u.By)
		default:
			more++
		}
	}
	if more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func masksOf(l lane.Layout) string {
	return fmt.Sprintf("kernel.mark_mask %#08x and kernel.ct_mask %#08x", l.MarkMask, l.CTMask)
}
