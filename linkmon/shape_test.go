package linkmon

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// Attributes that are not known, or cannot be copied, are reported with the gateway.
func TestUnknownAttributes(t *testing.T) {
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[4], head[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
	head = appendNumber(head, unix.RTA_OIF, 2)
	head = appendNumber(head, unix.RTA_TABLE, unix.RT_TABLE_MAIN)
	hop := appendAttribute(nil, unix.RTA_GATEWAY, addr("10.0.0.1").AsSlice())
	with := func(kind uint16, value []byte) []byte {
		return appendAttribute(append(append([]byte{}, head...), hop...), kind, value)
	}
	encap := func(kind uint16) []byte {
		return with(unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, kind))
	}
	multipath := append([]byte{byte(unix.SizeofRtNexthop + len(hop) + 8), 0, 0, 0, 2, 0, 0, 0}, hop...)
	multipath = appendAttribute(multipath, 99, []byte{1, 2, 3, 4})
	for name, c := range map[string]struct {
		message []byte
		want    string
		gateway bool
	}{
		"nothing":               {with(unix.RTA_CACHEINFO, make([]byte, 32)), "", true},
		"an attribute":          {with(99, []byte{1}), "its attribute number 99 is not known to this version", true},
		"a metric":              {with(unix.RTA_METRICS, appendNumber(nil, 31, 5)), "its metric number 31 is not known to this version", true},
		"an attribute of a hop": {appendAttribute(append([]byte{}, head...), unix.RTA_MULTIPATH, multipath), "its attribute number 99 is not known", true},
		"a program":             {encap(unix.LWTUNNEL_ENCAP_BPF), "encap bpf", false},
		"a tunnel":              {encap(unix.LWTUNNEL_ENCAP_IP), "", true},
	} {
		r, ok := decodeForeignDefault(c.message)
		if !ok {
			t.Fatalf("%s: no default", name)
		}
		d := device{index: 2, name: "w0"}
		g := learn([]route{r}, d, false)
		if !strings.Contains(g.uncarried, c.want) || (g.uncarried == "") != (c.want == "") || g.addr.IsValid() != c.gateway {
			t.Errorf("%s: %+v, want %q", name, g, c.want)
		}
		found := defaultsOf(state{devices: []device{d}, mainRoutes: mainRoutes{defaults: []route{r}}})
		if len(found) != 1 || found[0].Encapsulates == c.gateway || found[0].Family != failover.IPv4 {
			t.Errorf("%s: defaults %+v", name, found)
		}
	}
}
