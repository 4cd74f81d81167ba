package lane

import (
	"math/bits"
	"slices"
)

// lanes7 are the bits of a lane, and flow15 those of a flow's two lanes and the bit
// between them.
const (
	lanes7 = 0x7f
	flow15 = 0x7fff
)

// Where mark_mask may begin: eight bits of the conntrack mark are below it.
const (
	lowestMark  = 8
	highestMark = 25
)

// WithMarkMask returns the layout with another MarkMask, and the CTMask that belongs to
// it; false if the mask is not one of seven contiguous bits with eight below them.
func (l Layout) WithMarkMask(mask uint32) (Layout, bool) {
	shift := bits.TrailingZeros32(mask)
	if shift < lowestMark || shift > highestMark || mask != lanes7<<shift {
		return l, false
	}
	l.MarkMask, l.CTMask = mask, flow15<<(shift-lowestMark)
	return l, true
}

// Meets reports whether any of these bits are among those of the masks.
func (l Layout) Meets(used uint32) bool { return (l.MarkMask|l.CTMask)&used != 0 }

// Avoiding returns the layout with masks that have none of the bits that others use: the
// default ones if they are free, else the highest. Each element of used is one use.
// Those of packets alone matter for MarkMask only. A use that every choice meets, such
// as that of a value with bits all over the mark, is no reason against any. ok is false
// where nothing is free; then the masks are the default ones.
func (l Layout) Avoiding(used []uint32, packets uint32) (free Layout, ok bool) {
	var choices []Layout
	for _, shift := range order() {
		if c, valid := l.WithMarkMask(lanes7 << shift); valid {
			choices = append(choices, c)
		}
	}
	ok = true
	used = slices.DeleteFunc(slices.Clone(used), func(u uint32) bool {
		everywhere := !slices.ContainsFunc(choices, func(c Layout) bool { return !c.Meets(u) })
		ok = ok && !everywhere
		return everywhere
	})
	for _, c := range choices {
		if c.MarkMask&packets == 0 && !slices.ContainsFunc(used, c.Meets) {
			return c, ok
		}
	}
	return choices[0], false
}

// order is the order in which places of MarkMask are preferred.
func order() []int {
	first := bits.TrailingZeros32(DefaultLayout.MarkMask)
	out := []int{first}
	for shift := first - 1; shift >= lowestMark; shift-- {
		out = append(out, shift)
	}
	return append(out, highestMark)
}
