package packet

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func stamp(at time.Time) []byte {
	b := make([]byte, unix.SizeofCmsghdr)
	b = binary.NativeEndian.AppendUint64(b, uint64(at.Unix()))
	return binary.NativeEndian.AppendUint64(b, uint64(at.Nanosecond()))
}

func TestArrival(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name    string
		control []byte
		want    time.Duration // before now
	}{
		{"3 ms ago", stamp(now.Add(-3 * time.Millisecond)), 3 * time.Millisecond},
		{"no stamp", nil, 0},
		{"cut off", stamp(now)[:20], 0},
		{"in the future", stamp(now.Add(time.Second)), 0},
		{"the clock was set", stamp(now.Add(-time.Hour)), 0},
	} {
		if got := now.Sub(Arrival(tc.control, now)); got != tc.want {
			t.Errorf("%s: %v before now, want %v", tc.name, got, tc.want)
		}
	}
}
