package firewall

import (
	"fmt"
	"slices"
	"testing"

	"swerve/lane"
	"swerve/testenv/netns"
)

// What another program's rules do to our marks is found, and what leaves them alone is
// not: rules before our chains, with masks beside our bits, or for packets without a
// mark of ours.
func TestClashes(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   []string
	}{
		"none":            {"", nil},
		"before ours":     {`table inet theirs { chain pre { type filter hook prerouting priority mangle; meta mark set 0x1; ct mark set 0x2; }; }`, nil},
		"beside our bits": {`table inet theirs { chain pre { type filter hook prerouting priority filter; meta mark set meta mark & 0xffffff00 | 0x1; }; }`, nil},
		"wg-quick": {`table ip wg { chain pre { type filter hook prerouting priority mangle; meta l4proto udp meta mark set ct mark; };
			chain post { type filter hook postrouting priority mangle; meta l4proto udp meta mark 0xca6c ct mark set meta mark; }; }`, nil},
		"unmarked only": {`table ip t { chain pre { type filter hook prerouting priority filter; meta mark 0 meta mark set 0x1; }; }`, nil},
		"unused chain":  {`table ip t { chain never { meta mark set 0x01000000; }; }`, nil},
		"cleared":       {`table inet theirs { chain pre { type filter hook prerouting priority filter; tcp dport 80 meta mark set 0x1; }; }`, []string{"mark-cleared inet theirs pre"}},
		"cleared by restoring": {`table ip t { chain out { type route hook output priority filter; meta mark set ct mark; }; }`,
			[]string{"mark-restored ip t out"}},
		"restored in part": {`table ip t { chain out { type route hook output priority filter; meta mark set ct mark & 0xff; }; }`,
			[]string{"mark-cleared ip t out"}},
		"cleared behind a jump": {`table ip6 t { chain low { meta mark set 0x1; }; chain pre { type filter hook prerouting priority filter; jump low; }; }`,
			[]string{"mark-cleared ip6 t low"}},
		"flows cleared": {`table ip t { chain pre { type filter hook prerouting priority filter; ct mark set meta mark; }; }`,
			[]string{"mark-cleared ip t pre flow"}},
		"whole mark compared": {`table inet t { chain f { type filter hook forward priority filter; meta mark 5 accept; }; }`, []string{"mark-matched inet t f"}},
		"no mark":             {`table inet t { chain f { type filter hook input priority filter; meta mark 0 accept; }; }`, []string{"mark-matched inet t f"}},
		"whole flow's mark": {`table inet t { chain o { type filter hook output priority raw; ct mark vmap { 0xf41 : accept }; }; }`,
			[]string{"mark-matched inet t o flow"}},
		"compared beside our bits": {`table inet t { chain f { type filter hook forward priority filter; meta mark & 0xffff == 5 accept; ct mark & 0xff == 7 drop; }; }`, nil},
		"compared before ours":     {`table inet t { chain p { type filter hook prerouting priority raw; meta mark 5 drop; }; }`, nil},
		"another mark":             {`table inet t { chain o { type filter hook output priority filter; meta mark != 0xca6c reject; }; }`, nil},
		"set":                      {`table ip t { chain forwarded { type filter hook forward priority filter; meta mark set 0x02000000; }; }`, []string{"mark-set ip t forwarded"}},
		"flows set":                {`table ip t { chain forwarded { type filter hook forward priority filter; ct mark set 0x00010000; }; }`, []string{"mark-set ip t forwarded flow"}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := netns.New(t)
			run(t, ns, "sh", "-ec", "ip link set lo up; nft -f - <<'EOF'\n"+c.script+"\nEOF")
			var got []string
			err := ns.Do(func() error {
				kernel := newKernel(t)
				if err := kernel.Apply(Ruleset(twoUplinks())); err != nil {
					return err
				}
				if err := kernel.Tracks(); err != nil {
					return err
				}
				clashes, err := Clashes(lane.DefaultLayout)
				for _, c := range clashes {
					text := fmt.Sprint(c.Kind, " ", c.Where)
					if c.Flow {
						text += " flow"
					}
					got = append(got, text)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The chains in which other programs translate addresses are found, ours and those without a
// rule not.
func TestTranslators(t *testing.T) {
	ns := netns.New(t)
	run(t, ns, "sh", "-ec", `nft -f - <<'EOF'
		table ip nat { chain PREROUTING { type nat hook prerouting priority dstnat; tcp dport 443 dnat to 192.168.1.2; }
			chain INPUT { type nat hook input priority 100; }
			chain POSTROUTING { type nat hook postrouting priority srcnat; oifname wan9 masquerade; }; }
		table inet theirs { chain out { type nat hook output priority -100; tcp dport 80 redirect to :8080; }
			chain filter { type filter hook prerouting priority filter; counter; }; }
EOF`)
	err := ns.Do(func() error {
		kernel := newKernel(t)
		if err := kernel.Apply(Ruleset(twoUplinks())); err != nil {
			return err
		}
		destinations, sources, err := Translators()
		if got := fmt.Sprint(destinations, sources); err == nil && got != "[ip nat PREROUTING inet theirs out] [ip nat POSTROUTING]" {
			t.Errorf("found %s", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
