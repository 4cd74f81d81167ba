package firewall

import (
	"strings"
	"testing"

	"swerve/lane"
	"swerve/testenv/netns"
)

// loadText runs an nft(8) script in the namespace.
func loadText(t *testing.T, ns *netns.NS, script string) {
	t.Helper()
	cmd := ns.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("nft -f: %v: %s\n%s", err, out.String(), script)
	}
}

// listed returns our table as nft(8) lists it.
func listed(t *testing.T, ns *netns.NS) string {
	t.Helper()
	out, err := ns.Run("nft", "list", "table", "inet", "swerve")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func run(t *testing.T, ns *netns.NS, name string, args ...string) string {
	t.Helper()
	out, err := ns.Run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func inside(t *testing.T, ns *netns.NS, fn func() error) {
	t.Helper()
	if err := ns.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// newKernel returns a Kernel that is closed at the end of the test.
func newKernel(t *testing.T) *Kernel {
	k := new(Kernel)
	t.Cleanup(k.Close)
	return k
}

func apply(t *testing.T, ns *netns.NS, g Goal) {
	t.Helper()
	inside(t, ns, func() error { return newKernel(t).Apply(Ruleset(g)) })
}

func drift(t *testing.T, ns *netns.NS, k *Kernel, table Table) (differences []string) {
	t.Helper()
	inside(t, ns, func() (err error) {
		differences, err = k.Drift(table)
		return err
	})
	return differences
}

func goals() map[string]Goal {
	bare := twoUplinks()
	bare.Uplinks[1].Interface = ""
	return map[string]Goal{
		"nothing":        {Layout: lane.DefaultLayout},
		"no interface":   bare,
		"two uplinks":    twoUplinks(),
		"three policies": threePolicies(),
		"many":           manyUplinks(20, 10),
		"odd prefixes": func() Goal {
			g := threePolicies()
			g.Uplinks[0].SNATExcept = prefixes("0.0.0.0/0")
			g.Uplinks[0].Native6 = prefixes("::/1", "8000::/1")
			g.Uplinks[1].SNAT6, g.Uplinks[1].Native6 = Foreign, prefixes("::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")
			g.Uplinks[1].SNATExcept = prefixes("0.0.0.0/32", "255.0.0.0/8", "7.7.7.0/29")
			return g
		}(),
		"found": found(),
		"other layout": func() Goal {
			g := threePolicies()
			g.Layout.MarkMask, g.Layout.CTMask = 0x00007f00, 0x00007fff
			return g
		}(),
	}
}

// Text and transaction are equivalent: nft(8) lists the same after either.
func TestTextAndApplyAgree(t *testing.T) {
	for name, g := range goals() {
		t.Run(name, func(t *testing.T) {
			byText, byApply := netns.New(t), netns.New(t)
			table := Ruleset(g)
			loadText(t, byText, table.String())
			apply(t, byApply, g)
			want, got := listed(t, byText), listed(t, byApply)
			sameLines(t, got, want)
			if d := drift(t, byApply, newKernel(t), table); d != nil {
				t.Errorf("after Apply the kernel differs: %q", d)
			}
			loadText(t, byApply, table.Replacement())
			sameLines(t, listed(t, byApply), want)
		})
	}
}

// Apply leads from any table to any other, also to the same, and back to none.
func TestApplyFromAnyTable(t *testing.T) {
	ns := netns.New(t)
	for first, a := range goals() {
		for second, b := range goals() {
			apply(t, ns, a)
			apply(t, ns, b)
			if d := drift(t, ns, newKernel(t), Ruleset(b)); d != nil {
				t.Errorf("%s after %s: %q", second, first, d)
			}
		}
	}
	inside(t, ns, newKernel(t).DeleteTable)
	inside(t, ns, newKernel(t).DeleteTable)
	if out := run(t, ns, "nft", "list", "ruleset"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
}

// sameLines reports the first line in which two texts differ.
func sameLines(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("line %d\n got %s\nwant %s", i+1, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d lines, want %d", len(g), len(w))
	}
}
