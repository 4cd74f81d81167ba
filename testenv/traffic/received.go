package traffic

import (
	"net/netip"
	"time"
)

// Received is what the server has recorded of one client's messages.
type Received struct {
	Count      uint64 // distinct numbers
	Duplicates uint64
	Reordered  uint64 // arrived after one with a higher number
	Next       uint64 // one more than the highest number
	Missing    []Range
	Sources    []Source
	Truncated  bool // there was more to record than there is room for
}

// Range is the numbers from First to Last, both included.
type Range struct{ First, Last uint64 }

// Source is a run of messages that came from one address.
type Source struct {
	Addr  netip.Addr
	Since time.Time // of the first of them
	First uint64    // its number
	Count uint64
}

const (
	maxNumber  = 1 << 26 // 8 MiB of bits: 18 hours at 1,000 a second
	maxRanges  = 1024
	maxSources = 1024
)

// received records a bit for each number.
type received struct {
	bits    []uint64
	r       Received
	sources []Source
}

func (v *received) record(seq uint64, from netip.Addr, at time.Time) {
	v.noteSource(seq, from, at)
	if seq >= maxNumber {
		v.r.Truncated = true
		return
	}
	for uint64(len(v.bits))*64 <= seq {
		v.bits = append(v.bits, 0)
	}
	bit := uint64(1) << (seq % 64)
	switch {
	case v.bits[seq/64]&bit != 0:
		v.r.Duplicates++
		return
	case seq < v.r.Next:
		v.r.Reordered++
	}
	v.bits[seq/64] |= bit
	v.r.Count++
	v.r.Next = max(v.r.Next, seq+1)
}

func (v *received) noteSource(seq uint64, from netip.Addr, at time.Time) {
	n := len(v.sources)
	switch {
	case n > 0 && v.sources[n-1].Addr == from:
		v.sources[n-1].Count++
	case n < maxSources:
		v.sources = append(v.sources, Source{Addr: from, Since: at, First: seq, Count: 1})
	default:
		v.r.Truncated = true
	}
}

func (v *received) report() Received {
	r := v.r
	r.Sources = append([]Source(nil), v.sources...)
	for seq := uint64(0); seq < r.Next; seq++ {
		if v.bits[seq/64]&(1<<(seq%64)) != 0 {
			continue
		}
		n := len(r.Missing)
		switch {
		case n > 0 && r.Missing[n-1].Last+1 == seq:
			r.Missing[n-1].Last = seq
		case n < maxRanges:
			r.Missing = append(r.Missing, Range{seq, seq})
		default:
			r.Truncated = true
			return r
		}
	}
	return r
}
