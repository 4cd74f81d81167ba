package firewall

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// Bits of marks that other programs' rules compare, set, keep with flows or look up are
// found, under their masks; ours are told from theirs, whatever our masks are.
func TestMarkUses(t *testing.T) {
	for name, c := range map[string]struct {
		rules string
		want  []uint32
	}{
		"nothing":         {"tcp dport 80 accept", nil},
		"a value":         {"meta mark set 0x10000", []uint32{0x10000}},
		"under a mask":    {"meta mark set meta mark & 0xff00ffff | 0x40000", []uint32{0xff0000}},
		"one bit":         {"meta mark set meta mark | 0x8000", []uint32{0x8000}},
		"compared":        {"meta mark and 0x3f00 == 0x100 accept", []uint32{0x3f00}},
		"compared whole":  {"meta mark 0xca6c accept", []uint32{0xca6c}},
		"compared flow's": {"ct mark and 0xff0000 != 0 accept", []uint32{0xff0000}},
		"saved":           {"ct mark set meta mark and 0xff0000", []uint32{0xff0000}},
		"restored":        {"meta mark set ct mark and 0xff0000", []uint32{0xff0000}},
		"saved whole":     {"ct mark set meta mark", nil},
		"pbr": {`ct mark and 0xff0000 != 0 meta mark set ct mark and 0xff0000 return
			ip daddr 8.8.8.8 meta mark set 0x20000 ct mark set meta mark and 0xff0000`, []uint32{0xff0000, 0x20000}},
		"a map":      {"meta mark set iifname map { lan0: 0x100000, lan1: 0x200000 }", []uint32{0x300000}},
		"a set":      {"meta mark { 0x100, 0x200 } accept", []uint32{0x300}},
		"by size":    {"meta mark < 0x100 accept", nil},
		"in a chain": {"meta mark set 1; jump more; }; chain more { meta mark set 2;", []uint32{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := netns.New(t)
			run(t, ns, "nft", "table ip t { chain more0 { }; chain pre { type filter hook prerouting priority mangle; "+c.rules+"; }; }")
			err := ns.Do(func() error {
				k := newKernel(t)
				before, err := k.MarkUses()
				if err != nil {
					return err
				}
				if before.Ours != 0 {
					t.Errorf("a table of ours with %#x", before.Ours)
				}
				l, _ := lane.DefaultLayout.WithMarkMask(0xfe00)
				g := twoUplinks()
				g.Layout = l
				if err := k.Apply(Ruleset(g)); err != nil {
					return err
				}
				after, err := k.MarkUses()
				if after.Ours != 0xfe00 || !slices.Equal(after.Others, before.Others) {
					t.Errorf("after a table of ours: %+v, before %+v", after, before)
				}
				var got []uint32
				for _, u := range after.Others {
					if u.Where != "ip t pre" && u.Where != "ip t more" {
						t.Errorf("used by %q", u.Where)
					}
					got = append(got, u.Bits)
				}
				slices.Sort(got)
				slices.Sort(c.want)
				if name != "by size" && !slices.Equal(got, c.want) { // nft may swap its bytes
					t.Errorf("%#x, want %#x", got, c.want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Matches and targets of iptables are read by their binary form.
func TestMarkUsesOfIptables(t *testing.T) {
	info := func(tail []byte, words ...uint32) xt.InfoAny {
		var b []byte
		for _, w := range words {
			b = binary.NativeEndian.AppendUint32(b, w)
		}
		u := xt.Unknown(append(b, tail...))
		return &u
	}
	full := ^uint32(0)
	for _, c := range []struct {
		e    expr.Any
		want string
	}{
		{&expr.Target{Name: "MARK", Rev: 2, Info: info(nil, 0x4000, 0x4000)}, "[{4000 false}]"},
		{&expr.Target{Name: "MARK", Rev: 2, Info: info(nil, 0x20000, full)}, "[{20000 false}]"},
		{&expr.Target{Name: "CONNMARK", Rev: 1, Info: info([]byte{0, 0, 0, 0}, 0x100, 0x3f00, full)}, "[{3f00 true}]"},
		{&expr.Target{Name: "CONNMARK", Rev: 1, Info: info([]byte{1, 0, 0, 0}, 0, 0xff0000, 0xff0000)}, "[{ff0000 true}]"},
		{&expr.Target{Name: "CONNMARK", Rev: 2, Info: info([]byte{0, 0, 2, 0}, 0, 0xff0000, full)}, "[{ff0000 true}]"},
		{&expr.Target{Name: "CONNMARK", Rev: 2, Info: info([]byte{0, 0, 0, 0}, 7, full, full)}, "[{7 true}]"},
		{&expr.Target{Name: "CONNMARK", Rev: 1, Info: info(nil, 7)}, "[]"},
		{&expr.Target{Name: "MARK", Rev: 3, Info: info(nil, 1, 1)}, "[]"},
		{&expr.Match{Name: "mark", Rev: 1, Info: info([]byte{1}, 0, 0xff)}, "[{ff false}]"},
		{&expr.Match{Name: "connmark", Rev: 1, Info: info([]byte{0}, 0x8000, full)}, "[{8000 true}]"},
		{&expr.Match{Name: "comment", Rev: 1, Info: info([]byte{0}, 0x8000, full)}, "[]"},
	} {
		var got []string
		for _, u := range usesIn([]expr.Any{c.e}, nil) {
			got = append(got, fmt.Sprintf("{%x %t}", u.bits, u.flow))
		}
		if got := fmt.Sprint(got); got != c.want {
			t.Errorf("%+v: %s, want %s", c.e, got, c.want)
		}
	}
}

func TestFlowMarks(t *testing.T) {
	l := newLab(t)
	p := plans[failover.IPv4]
	serveUDP(t, l.net, at(p.host, 5000))
	l.carriesLAN(failover.IPv4)
	loadText(t, l.gw, trackEarly+`
table inet legacy { chain f { type filter hook forward priority 1; ct mark set 0x20001;
}
}`)
	askUDP(t, dialUDP(t, l.client, at(p.host, 5000)))
	inside(t, l.gw, func() error {
		marks, err := l.kernel.FlowMarks()
		if !slices.Equal(marks, []uint32{0x20001}) {
			t.Errorf("%#x", marks)
		}
		return err
	})
}
