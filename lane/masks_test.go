package lane

import (
	"math/bits"
	"testing"
)

// Masks are the default ones wherever those are free, and else have no bit that anybody
// uses; what no choice avoids is no reason against the free ones.
func TestAvoiding(t *testing.T) {
	for name, c := range map[string]struct {
		used    []uint32
		packets uint32
		mark    uint32
		ok      bool
	}{
		"nothing":                        {nil, 0, 0x7f000000, true},
		"mwan3":                          {[]uint32{0x3f00}, 0, 0x7f000000, true},
		"docker and kubernetes":          {[]uint32{0x4000, 0x8000}, 0, 0x7f000000, true},
		"wg-quick":                       {[]uint32{0xca6c}, 0, 0x7f000000, true},
		"a transparent proxy":            {[]uint32{1}, 0, 0x7f000000, true},
		"pbr of OpenWrt, tailscale":      {[]uint32{0xff0000}, 0, 0xfe00, true},
		"the highest bits":               {[]uint32{0xf0000000}, 0, 0x7f << 21, true},
		"Calico":                         {[]uint32{0xffff0000}, 0, 0xfe00, true},
		"Calico and kubernetes":          {[]uint32{0xffff0000, 0x4000, 0x8000}, 0, 0x7f000000, false},
		"pbr and mwan3":                  {[]uint32{0xff0000, 0x3f00}, 0, 0x7f000000, false},
		"Mullvad":                        {[]uint32{0x6d6f6c65}, 0, 0x7f000000, false},
		"Mullvad and pbr":                {[]uint32{0x6d6f6c65, 0xff0000}, 0, 0xfe00, false},
		"packets, below the packets'":    {nil, 0xff0000, 0x7f000000, true},
		"packets, among the packets'":    {nil, 0x40000000, 0x7f << 23, true},
		"all but the fifteen at the top": {[]uint32{0x1ffff}, 0, 0x7f000000 << 1, true},
	} {
		l, ok := Layout{FirstPriority: 1, FirstTable: 2}.Avoiding(c.used, c.packets)
		if l.MarkMask != c.mark || ok != c.ok || l.FirstPriority != 1 || l.FirstTable != 2 {
			t.Errorf("%s: %#x, %t; want %#x, %t", name, l.MarkMask, ok, c.mark, c.ok)
		}
		if bits.OnesCount32(l.CTMask) != 15 || l.CTMask&l.MarkMask != l.MarkMask || bits.LeadingZeros32(l.CTMask) != bits.LeadingZeros32(l.MarkMask) {
			t.Errorf("%s: %#x does not belong to %#x", name, l.CTMask, l.MarkMask)
		}
	}
}

func TestWithMarkMask(t *testing.T) {
	if l, ok := DefaultLayout.WithMarkMask(0x7f00); !ok || l.CTMask != 0x7fff {
		t.Errorf("%#x %t", l.CTMask, ok)
	}
	for _, mask := range []uint32{0, 0x7f, 0x3f80, 0xff00, 0x7e00, 0xfc000000, 0x55 << 10} {
		if l, ok := DefaultLayout.WithMarkMask(mask); ok || l != DefaultLayout {
			t.Errorf("%#x is accepted", mask)
		}
	}
}
